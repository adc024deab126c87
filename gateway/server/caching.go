package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/policies"
	"github.com/labstack/echo/v4"
)

// headerBypass is how an operator asks for the app's own answer: its value is
// the admin token. Like all of its kind it is never forwarded.
const headerBypass = "Headgate-Cache-Bypass"

func newCacheRule(name string, p *policies.Cache) (cache.Rule, error) {
	rule := cache.Rule{
		Name:                 name,
		TTL:                  p.TTL,
		ForceTTL:             p.ForceTTL,
		StaleWhileRevalidate: p.StaleWhileRevalidate,
		StaleIfError:         p.StaleIfError,
		Heuristic:            p.Heuristic,
		Tags:                 p.Tags,
		IgnoreQuery:          p.IgnoreQuery,
		Query:                p.Query,
		IgnoreCookies:        p.IgnoreCookies,
		KeyHeaders:           p.KeyHeaders,
		MaxBody:              p.MaxBody,
	}
	if p.Query != nil && len(p.Query) == 0 { // none makes a difference
		rule.IgnoreQuery = []string{"*"}
	}
	if len(p.Errors) > 0 {
		rule.Errors = make(map[int]time.Duration, len(p.Errors))
		for status, ttl := range p.Errors {
			rule.Errors[status] = ttl
		}
	}
	if err := rule.Check(); err != nil {
		return rule, fmt.Errorf("cache %s: %w", name, err)
	}
	return rule, nil
}

// cached puts the cache before the app: its whole middleware where the route
// has a rule, and where it has none, in a policy that caches at all, what
// unsafe requests must invalidate.
func (rt *route) cached(next echo.HandlerFunc) echo.HandlerFunc {
	c := rt.server.parts.cache.Load()
	if c == nil || rt.policy.Upstream == "" {
		return next
	}
	rule, ok := rt.gen.caches[rt.policy.Cache]
	if !ok || rt.session.Mode == session.Logout { // a stored answer would end no session
		return c.Invalidation(cache.InvalidationOptions{Tags: rt.policy.Purge})(next)
	}
	return c.Middleware(rule, cache.MiddlewareOptions{
		Partition:     rt.partition(),
		LiveSession:   personal,
		Bypass:        bypass(rt.gen.policy.Server.Admin.Token),
		UpstreamField: rt.upstreamField,
		PurgeTags:     rt.policy.Purge,
	})(next)
}

// partition separates what routes have the app answer: their upstream, and
// whatever they change about request and answer. Two routes may have the same
// path, upstream and cache, and be told apart by a header or the client's
// address; what one of them rewrites is not for the visitors of the other. An
// edited route starts clean.
func (rt *route) partition() string {
	p := rt.policy
	if p.StripPrefix == "" && p.Rewrite == "" && len(p.RequestHeaders.Remove)+len(p.RequestHeaders.Set)+len(p.RequestHeaders.Add) == 0 &&
		len(p.ResponseHeaders.Remove)+len(p.ResponseHeaders.Set)+len(p.ResponseHeaders.Add) == 0 && p.PreserveHost && p.CORS == nil {
		return p.Upstream
	}
	changes := []any{p.PreserveHost, p.StripPrefix, p.Rewrite, p.RequestHeaders, p.ResponseHeaders, p.CORS != nil}
	if p.Rewrite != "" {
		changes = append(changes, p.Path) // of which it is made
	}
	text, err := json.Marshal(changes)
	if err != nil {
		panic(err) // strings and booleans
	}
	sum := sha256.Sum256(text)
	return fmt.Sprintf("%s as %x", p.Upstream, sum[:8])
}

// personal reports whether the app is told who asks: its answer may then
// depend on it, and only what it calls public is for others.
func personal(r *http.Request) bool {
	x := exchangeFrom(r.Context())
	return x.api != nil || x.session.Session() != nil
}

func bypass(token string) func(*http.Request) bool {
	if token == "" {
		return nil
	}
	want := sha256.Sum256([]byte(token))
	return func(r *http.Request) bool {
		given := r.Header[headerBypass]
		if len(given) != 1 {
			return false
		}
		got := sha256.Sum256([]byte(given[0]))
		return subtle.ConstantTimeCompare(got[:], want[:]) == 1
	}
}

// upstreamField returns a field of the request as the app will see it, by
// which Vary selects.
func (rt *route) upstreamField(r *http.Request, name string) []string {
	x := exchangeFrom(r.Context())
	switch name {
	case "Host", "X-Forwarded-Host":
		return []string{r.Host}
	case "X-Forwarded-Proto":
		return []string{schemeOf(r)}
	case "X-Forwarded-For", "Forwarded":
		return []string{x.Info.Addr.String()}
	}
	h := http.Header{}
	if values, ok := r.Header[name]; ok && !session.Reserved(name) {
		h[name] = values[:len(values):len(values)]
	}
	applyHeaderRules(h, rt.policy.RequestHeaders)
	if session.Reserved(name) {
		rt.announce(h, x)
	}
	return h[name]
}

// schemeOf returns what the client spoke.
func schemeOf(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

// cacheOutcome returns what our own member of Cache-Status (RFC 9211) says, in
// one word for the access log: hit, stale, or why the app was asked.
func cacheOutcome(h http.Header) string {
	lines := h["Cache-Status"]
	if len(lines) == 0 {
		return ""
	}
	// Ours is the last one: caches append on the way to the client.
	ours := lines[len(lines)-1]
	if i := strings.LastIndex(ours, "headgate;"); i >= 0 {
		ours = ours[i:]
	} else {
		return ""
	}
	outcome := ""
	for param := range strings.SplitSeq(ours, ";") {
		param = strings.TrimSpace(param)
		switch why, forwarded := strings.CutPrefix(param, "fwd="); {
		case param == "hit":
			outcome = "hit"
		case forwarded:
			outcome = why
		case strings.HasPrefix(param, "ttl=-") && outcome == "hit":
			outcome = "stale"
		}
	}
	return outcome
}
