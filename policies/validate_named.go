package policies

import (
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/internal/yamlnode"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/problem"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
)

func (c *checker) upstreams() {
	cookies := map[string]string{c.p.Session.Cookie.Name: "the session"} // by name: whose they are
	for _, name := range names(c, "upstreams", c.p.Upstreams) {
		u, path := c.p.Upstreams[name], problem.Key("upstreams", name)
		c.problems(path, u.Validate())
		c.ownAddress(path, u)
		if cookie := u.AffinityCookieName(name); cookies[cookie] != "" {
			c.bad(problem.Key(path, "cookie", "name"), "choose another", "%s is the cookie of %s, too", quote(cookie), cookies[cookie])
		} else if cookie != "" {
			cookies[cookie] = "the upstream " + quote(name)
		}
		if c.at.Has(problem.Key(path, "health_check")) && u.HealthCheck.Path != "" {
			c.checkPace(problem.Key(path, "health_check"), &u.HealthCheck)
		}
	}
}

// checkPace bounds how often servers are checked. A program that checks its own may do so as often as it likes.
func (c *checker) checkPace(path string, h *proxy.HealthCheck) {
	if h.Interval < 100*time.Millisecond {
		c.bad(problem.Key(path, "interval"), "choose 100ms or more", "checks that often would be a load of their own")
	}
	if h.Timeout > h.Interval {
		at := problem.Key(path, "timeout")
		if !c.at.Has(at) {
			at = problem.Key(path, "interval")
		}
		c.bad(at, "make timeout at most interval", "a check may take %v, and the next begins after %v", h.Timeout, h.Interval)
	}
}

// memory checks what is given to cache and counters, where the policy says it: the default heeds the limits.
func (c *checker) memory() {
	if given := c.p.Memory.Cache; given != 0 && given < 1<<20 {
		c.bad("memory.cache", "give it 1MiB or more, or leave it out", "%s is too little for a cache", yamlnode.FormatSize(given))
	}
	given := c.p.Memory.Counters
	if given == 0 {
		return
	}
	if given < 1<<20 {
		c.bad("memory.counters", "give it 1MiB or more, or leave it out", "%s is too little for counters", yamlnode.FormatSize(given))
		return
	}
	for _, name := range sortedKeys(c.p.Limits) {
		if least, err := c.p.Limits[name].LeastMemory(); err == nil && least > given {
			c.bad("memory.counters", "give it "+yamlnode.FormatSize((least>>20+1)<<20)+" or more, or lower the limit's requests", "a counter of the limit %s does not fit into it", quote(name))
		}
	}
}

// limits checks each limit by itself, and for plans that no client is on.
func (c *checker) limits() {
	sessions := slices.ContainsFunc(c.p.Routes, func(r *Route) bool { return r.Session != "" && r.Session != session.Off })
	for _, name := range names(c, "limits", c.p.Limits) {
		l, path := c.p.Limits[name], problem.Key("limits", name)
		c.inFlight(problem.Key(path, "concurrent"), path, l)
		if l.ByAccount() && len(c.p.Session.Secrets) == 0 && len(c.p.Session.SecretsFile) == 0 {
			c.bad(problem.Key(path, "key"), "give the policy session.secrets, made with: openssl rand -base64 32",
				"devices that an account knows can't be told from others without a secret, so that guesses would lock its user out")
		}
		for _, plan := range sortedKeys(l.Plans) {
			c.plan(problem.Key(path, "plans", plan), plan, sessions)
		}
	}
}

// inFlight checks a limit by itself, and what of a limit of requests in flight only its text tells.
func (c *checker) inFlight(at, path string, l *ratelimit.Limit) {
	if c.at.Has(at) && l.Concurrent == 0 {
		c.bad(at, "write 1 or more; requests: 0 with a window denies always", "a limit of no request in flight can never admit")
		return
	}
	c.problems(path, l.Validate())
	if algorithm := problem.Key(path, "algorithm"); l.Concurrent > 0 && l.Algorithm == ratelimit.SlidingWindow && c.at.Has(algorithm) {
		c.bad(algorithm, "remove it, or write requests and window instead of concurrent", "algorithm means nothing to a limit of requests in flight")
	}
}

// plan reports a plan that nothing can be on: an app may put a session on any, where there are sessions.
func (c *checker) plan(path, plan string, sessions bool) {
	onIt := func(name string) bool { return c.p.Clients[name].Plan == plan }
	switch {
	case sessions:
	case plan == ratelimit.PlanUser:
		c.Warnf(c.at.KeyAt(path), "give the routes sessions, or remove it", "no route has sessions, so that no request has a user")
	case slices.ContainsFunc(sortedKeys(c.p.Clients), onIt):
	default:
		c.Warnf(c.at.KeyAt(path), "give a client this plan, or remove it", "no client is on the plan %s", quote(plan))
	}
}

func (c *checker) caches() {
	for _, name := range names(c, "caches", c.p.Caches) {
		cache, path := c.p.Caches[name], problem.Key("caches", name)
		c.problems(path, cache.Validate())
		for i, header := range cache.KeyHeaders { // an app that sets no cookies of its own may do so, behind a gateway it is a mistake
			if strings.EqualFold(header, "Cookie") {
				c.bad(problem.Item(problem.Key(path, "key_headers"), i), "name the cookies that make no difference in ignore_cookies", "a cache keyed by Cookie would never hit")
			}
		}
	}
}

// tag reports what can't stand in a Cache-Tag or Surrogate-Key header.
func (c *checker) tag(path, tag string) {
	if wrong, ok := cache.ValidateTag(tag); !ok {
		c.problems(path, []problem.Problem{wrong})
	}
}

// session checks what sessions are behind a gateway, besides what holds for them anywhere.
func (c *checker) session() {
	s := &c.p.Session
	c.problems("session", s.Validate())
	if s.RotateEvery > 0 && s.RotateEvery < seconds(60) {
		c.bad("session.rotate_every", "choose 1m or more, or 0s for only at login", "IDs would be renewed before their old ones have ended")
	}
	if s.LoginPath == "" {
		c.localPath("session.login_path", s.LoginPath)
	}
	for i, origin := range s.CSRF.TrustedOrigins {
		if origin == "*" {
			continue // which has been reported
		}
		var ps problem.List
		validateOrigin(&ps, problem.Item("csrf.trusted_origins", i), origin, true)
		c.problems("session", ps)
	}
}

// validateOrigin finds what is not an origin as browsers send it: scheme://host[:port]. A wildcard may stand for sub-domains.
func validateOrigin(ps *problem.List, path, origin string, wildcard bool) {
	mend := "write it like https://app.example.com"
	if wildcard {
		mend += " or https://*.example.com"
	}
	plain := origin
	if wildcard {
		plain = strings.Replace(origin, "://*.", "://", 1)
	}
	switch normal, ok := httpx.NormalizeOrigin(plain); {
	case !ok:
		ps.Add(path, mend, "%s is not an origin", quote(origin))
	case normal != plain:
		if plain != origin {
			normal = strings.Replace(normal, "://", "://*.", 1)
		}
		ps.Add(path, "write "+quote(normal)+", as browsers send it", "no browser sends the origin %s", quote(origin))
	}
}
