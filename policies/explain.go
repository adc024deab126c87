package policies

import (
	"fmt"
	"slices"
	"strings"
)

// Attempt says what came of one path of a route for a request.
type Attempt struct {
	Index   int    // of the route
	Pattern string // the path of the route that was tried
	Why     string // why it did not match; "" for the one that did
}

// Explain matches a request as Match does and says of every route why it was not the one: first
// those that were tried, in their precedence, then the others in the order of the file.
func (m *Matcher) Explain(r *Request) (Match, []Attempt) {
	var tried []Attempt
	match := m.match(r, &tried)
	for i, route := range m.routes {
		if slices.ContainsFunc(tried, func(a Attempt) bool { return a.Index == i }) {
			continue
		}
		tried = append(tried, Attempt{Index: i, Pattern: strings.Join(route.Path, ", "), Why: untried(route, r)})
	}
	return match, tried
}

// untried says why the search did not come to a route.
func untried(route *Route, r *Request) string {
	if len(route.Host) > 0 && !slices.ContainsFunc(route.Host, func(h string) bool { return hostMatches(h, r.Host) }) {
		return fmt.Sprintf("host %s is not %s", quote(r.Host), strings.Join(route.Host, " or "))
	}
	for _, path := range route.Path {
		if p, problem, _ := parsePattern(path, route.IgnoreCase); problem == "" && p.matches(r.Path, nil) {
			return "a more specific route matches"
		}
	}
	return fmt.Sprintf("path %s is not %s", quote(r.Path), strings.Join(route.Path, " or "))
}

// hostMatches reports whether a normalised host is the route's, exactly or by its wildcard.
func hostMatches(pattern, host string) bool {
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		return len(host) > len(suffix) && strings.HasSuffix(host, suffix)
	}
	return pattern == host
}

// explain says what a refusal means for a request; "" where there is none.
func (r *rule) explain(why refusal, req *Request) string {
	switch why.matcher {
	case pathDiffers:
		return fmt.Sprintf("path %s does not match %s", quote(req.Path), quote(strings.TrimPrefix(r.path.String(), "(?i)")))
	case methodDiffers:
		return fmt.Sprintf("method %s is not %s", quote(req.Method), strings.Join(r.methods, " or "))
	case schemeDiffers:
		return fmt.Sprintf("scheme %s is not %s", req.Scheme, r.scheme)
	case headerDiffers:
		if valueOf(r.headers, why.name) == Present {
			return fmt.Sprintf("header %s is not there", why.name)
		}
		return fmt.Sprintf("header %s is not %s", why.name, quote(valueOf(r.headers, why.name)))
	case cookieDiffers:
		if valueOf(r.cookies, why.name) == Present {
			return fmt.Sprintf("cookie %s is not there", why.name)
		}
		return fmt.Sprintf("cookie %s is not %s", why.name, quote(valueOf(r.cookies, why.name)))
	case queryDiffers:
		return fmt.Sprintf("query parameter %s is not %s", why.name, quote(valueOf(r.query, why.name)))
	case clientDiffers:
		var networks []string
		for _, p := range r.clientIP {
			networks = append(networks, p.String())
		}
		return fmt.Sprintf("client %s is not in %s", req.ClientIP, strings.Join(networks, " or "))
	case planDiffers:
		if req.Plan == "" {
			return fmt.Sprintf("no API key of plan %s", strings.Join(r.plans, " or "))
		}
		return fmt.Sprintf("plan %s is not %s", req.Plan, strings.Join(r.plans, " or "))
	}
	return ""
}

func valueOf(conditions []condition, name string) string {
	for _, c := range conditions {
		if c.name == name {
			return c.value
		}
	}
	return ""
}
