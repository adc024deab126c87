package policies

import (
	"net/http"
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/problem"
	"github.com/headgate/headgate/middleware/session"
)

// spellings warns of guarded routes beside a weaker one that takes another spelling of the same path to the same app:
// in capitals where no ignore_case says whether the app cares, and with %2F for a slash where the weaker route keeps that.
func (c *checker) spellings() {
	m, err := NewMatcher(c.p.Routes)
	if err != nil {
		return // which has been reported
	}
	reported := false // one key of the server settles it for all routes, so that it is reported once
	for i, r := range c.p.Routes {
		if r.Upstream == "" || !guarded(r) {
			continue
		}
		at := c.at.KeyAt(problem.Item("routes", i))
		if !reported && !saysSetting(c.p, c.at, i, "ignore_case") && !c.at.Has("server.ignore_case") {
			if path, weaker := m.bypass(r, capitals, func(*Route) bool { return true }); weaker != nil {
				reported = true
				c.Warnf(at, "write ignore_case: true for server or route, or false if the app tells them apart",
					"an app that ignores case takes %s for a path of this route, but the route %s takes it, which asks for less", quote(path), quote(weaker.Name))
			}
		}
		if path, weaker := m.bypass(r, encodedSlashes, func(w *Route) bool { return w.EncodedSlashes == EncodedSlashesKeep }); weaker != nil {
			c.Warnf(at, "write encoded_slashes: refuse for the route "+quote(weaker.Name)+", or ask there for as much",
				"an app that decodes %%2F takes %s for a path of this route, but the route %s takes it, which asks for less", quote(path), quote(weaker.Name))
		}
	}
}

// guarded reports whether a route asks for something that a request could go past on another route.
func guarded(r *Route) bool {
	return r.Session == session.Required || r.Session == session.Login || r.Client == ClientRequired || len(r.ownLimits) > 0
}

// weaker reports whether a route lacks something that guarded asks for.
func weaker(r, guarded *Route) bool {
	lacks := func(mode session.Mode) bool { return guarded.Session == mode && r.Session != mode }
	return lacks(session.Required) || lacks(session.Login) ||
		guarded.Client == ClientRequired && r.Client != ClientRequired ||
		slices.ContainsFunc(guarded.Limits, func(name string) bool { return !slices.Contains(r.Limits, name) })
}

// bypass finds another spelling of a path of r, and a weaker route to the same app that takes it.
func (m *Matcher) bypass(r *Route, spell func(pattern) []string, counts func(*Route) bool) (path string, by *Route) {
	methods := r.Methods
	if len(methods) == 0 {
		methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, httpx.MethodQuery}
	}
	hosts := r.Host
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	for _, text := range r.Path {
		p, _, _ := parsePattern(text, false)
		for _, path := range spell(p) {
			for _, host := range hosts {
				for _, method := range methods {
					by := m.weakest(r, &Request{Host: strings.TrimPrefix(host, "*"), Path: path, Method: method}, counts)
					if by != nil {
						return strings.ReplaceAll(path, anySegment, "x"), by
					}
				}
			}
		}
	}
	return "", nil
}

// weakest returns a route that a client could have take the request by also sending what that route's match asks for.
func (m *Matcher) weakest(guarded *Route, request *Request, counts func(*Route) bool) *Route {
	var tried []Attempt
	m.search(&search{request: request, folds: m.folds, tried: &tried})
	for _, attempt := range tried {
		r := m.routes[attempt.Index]
		why := m.rules[attempt.Index].refuses(request).matcher
		if why != pathDiffers && why != methodDiffers && r != guarded &&
			r.Upstream == guarded.Upstream && weaker(r, guarded) && counts(r) {
			return r
		}
	}
	return nil
}

// anySegment stands for a :param's segment, or one below a *. No static segment of a route is like it.
const anySegment = "*"

// capitals spells a path with its letters in the other case.
func capitals(p pattern) []string {
	changed := false
	path := spelt(p, func(s string) string {
		other := swapCase(s)
		changed = changed || other != s
		return other
	})
	if !changed {
		return nil
	}
	return []string{"/" + strings.Join(path, "/")}
}

// encodedSlashes spells a path with one of its slashes as %2F, a last one too.
func encodedSlashes(p pattern) []string {
	path := spelt(p, func(s string) string { return s })
	var spellings []string
	for i := 1; i < len(path); i++ {
		spellings = append(spellings, "/"+strings.Join(path[:i], "/")+"%2F"+strings.Join(path[i:], "/"))
	}
	if len(path) > 0 && !p.star {
		spellings = append(spellings, "/"+strings.Join(path, "/")+"%2F")
	}
	return spellings
}

// spelt returns the segments of a path that the pattern matches, its static ones as spell says.
func spelt(p pattern, spell func(string) string) []string {
	var path []string
	for _, s := range p.segments {
		if s.param {
			path = append(path, anySegment)
		} else {
			path = append(path, spell(s.text))
		}
	}
	if p.star {
		path = append(path, anySegment+spell(p.suffix))
	}
	return path
}

// swapCase returns a segment with its ASCII letters in the other case, but for those of escapes.
func swapCase(s string) string {
	b := []byte(s)
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '%':
			i += 2
		case c|0x20 >= 'a' && c|0x20 <= 'z':
			b[i] ^= 0x20
		}
	}
	return string(b)
}
