package pipeline

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/policies"
	"github.com/labstack/echo/v4"
)

// headerBypass is how an operator asks for the app's own answer: its value is
// the admin token. Like all of its kind it is never forwarded.
const headerBypass = "Headgate-Cache-Bypass"

// bindCache makes the cache's part of the route: by its rule where it has one, and where
// it has none, in a policy that caches at all, for what unsafe requests must invalidate.
func (rt *Route) bindCache() (err error) {
	if rt.Policy.Upstream == "" || len(rt.pipeline.policy.Caches) == 0 {
		return nil
	}
	rule, known := rt.pipeline.policy.Caches[rt.Policy.Cache]
	switch {
	case !known && rt.Policy.Cache != "":
		return fmt.Errorf("there is no cache %q", rt.Policy.Cache)
	case !known || rt.session.Mode == session.Logout: // a stored answer would end no session
		rt.cache = cache.CompileInvalidation(cache.InvalidationOptions{Tags: rt.Policy.Purge, MayHold: rt.pipeline.mayHold})
		return nil
	}
	rt.cache, err = cache.Compile(*rule, cache.MiddlewareOptions{
		Partition:     rt.partition(),
		UpstreamField: rt.upstreamField,
		Scheme:        schemeOf,
		PurgeTags:     rt.Policy.Purge,
		MayHold:       rt.pipeline.mayHold,
		ErrorStatus:   upstreamStatus,
	})
	return err
}

// caches reports whether a route of the policy stores responses.
func caches(r *policies.Route) bool {
	return r.Cache != "" && r.Upstream != "" && r.Session != session.Logout
}

// storedMethods are those whose responses the cache stores.
var storedMethods = []string{http.MethodGet, http.MethodHead, httpx.MethodQuery}

// mayHold reports whether the cache may hold a response for a URL, by the policy's routes alone. It goes by the matcher that
// was compiled with them. When in doubt it does: the client of an unsafe request then waits for the purge.
func (p *Pipeline) mayHold(host, path string) bool {
	normal, err := httpx.NormalizePath(path)
	return err != nil || p.matcher.MayTake(httpx.HostName(host), normal.RawPath, storedMethods, caches)
}

// CachePlan says what the cache does with the request by the route's rule alone, before
// it looks for anything stored: the zero Plan where the route has nothing to do with it.
func (r *Request) CachePlan() cache.Plan {
	if r.Route.cache == nil {
		return cache.Plan{}
	}
	return r.Route.cache.Plan(r.asHTTP())
}

// fetchesApart reports whether an app server's answer may arrive on a goroutine of the cache's.
func (rt *Route) fetchesApart() bool { return rt.pipeline.parts.Cache != nil && rt.cache != nil }

// newCached puts the cache before the app.
func (rt *Route) newCached(origin echo.HandlerFunc) func(*Request) error {
	c, route := rt.pipeline.parts.Cache, rt.cache
	if !rt.fetchesApart() {
		return func(r *Request) error { return origin(r.echo) }
	}
	c.Register(route)
	bypass := bypass(rt.pipeline.policy.Server.Admin.Token)
	return func(r *Request) error {
		return c.Serve(r.echo, route, &cache.Facts{
			Client: r.Info.Bucket,
			Scheme: r.Scheme, Host: r.Authority, Path: r.Path.RawPath,
			// The app server is told who asks. Its response may depend on it, and only
			// what it calls public is for others.
			LiveSession: r.Client != nil || r.ref != "",
			Bypass:      bypass != nil && bypass(r.Header),
		}, origin)
	}
}

// partition separates what routes have the app answer: their upstream, and
// whatever they change about request and answer. Two routes may have the same
// path, upstream and cache, and be told apart by a header or the client's
// address; what one of them rewrites is not for the visitors of the other. An
// edited route starts clean.
func (rt *Route) partition() string {
	p := rt.Policy
	if p.StripPrefix == "" && p.Rewrite == "" && rt.requestHeaders == nil && rt.responseHeaders == nil && p.PreserveHost && p.CORS == nil {
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

// bypass recognises the requests of an operator who wants the app's own answer. It is
// nil where there is no admin token.
func bypass(token string) func(http.Header) bool {
	if token == "" {
		return nil
	}
	want := sha256.Sum256([]byte(token))
	return func(h http.Header) bool {
		given := h[headerBypass]
		if len(given) != 1 {
			return false
		}
		got := sha256.Sum256([]byte(given[0]))
		return subtle.ConstantTimeCompare(got[:], want[:]) == 1
	}
}
