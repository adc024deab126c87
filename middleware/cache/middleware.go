package cache

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/internal/httpx"
)

// MiddlewareOptions is what a [Cache] has to know of the route that it is put
// on. The zero value is right for an Echo app without users.
type MiddlewareOptions struct {
	// Partition separates keys of one Rule, for example by the upstream that
	// answers. Empty: one partition.
	Partition string

	// Scheme gives the scheme that a client used. Nil: https with TLS, http
	// without; X-Forwarded-Proto is any client's to send and is not read.
	Scheme func(*http.Request) string

	// LiveSession reports whether a request belongs to a live session: only
	// what the origin calls public is then stored or served. Nil: none does.
	LiveSession func(*http.Request) bool

	// Bypass reports whether a request goes straight to the origin, without
	// its response being stored. It is for operators: a client that can bypass
	// the cache can overload the origin. Nil: none does.
	Bypass func(*http.Request) bool

	// UpstreamField gives the values of a field of the request as the origin
	// will see it, for Vary; name is canonical. Nil: the request's own fields,
	// and Host. It is called concurrently, on requests and on copies of them
	// that fetches make, which have the values of the request's context.
	UpstreamField func(r *http.Request, name string) []string

	// Control are names of response fields that make a response one user's: it
	// is neither stored nor shared. * stands for anything; names are compared
	// in lower case, with every other character than a letter or a digit as
	// "-". Nil: none.
	Control []string

	// Unstored are names of response fields that are never stored, written
	// like Control, besides those of one delivery (rate limits, request IDs).
	// Nil: no others.
	Unstored []string

	// ErrorStatus gives the status that a client is given for an error of the next handler:
	// of 500 or more, a stored response may stand in for it, and 502, 503 and 504 are given to
	// all requests that wait. Nil: what the app's HTTPErrorHandler writes, which is called
	// with a response that goes nowhere before it is called for the client.
	ErrorStatus func(error) int

	// PurgeTags are purged when an unsafe request succeeds, on every instance
	// and before its client is answered. Nil: its URL alone is invalidated.
	PurgeTags []string

	// MayHold reports whether a route of the program's may store responses for
	// a URL, by its authority and escaped path. The client of an unsafe request
	// waits for the invalidation of such URLs alone; others are purged within a
	// second, for instances that know other routes. Nil: all may be stored.
	MayHold func(host, path string) bool
}

// Facts are what the cache has to know of one request besides the request.
type Facts struct {
	// Scheme, Host and Path are the target, as keys are to have it: the scheme
	// that the client used; the Host in lower case, without a final dot or the
	// scheme's own port; the path of the URL, escaped.
	Scheme, Host, Path string
	// Client is who asks, an IPv6 client by its network's prefix: what it may add
	// to the cache by queries that the rule does not list is bounded. The zero
	// Addr: it is not.
	Client netip.Addr
	// LiveSession and Bypass are what MiddlewareOptions say of them.
	LiveSession, Bypass bool
}

// Route is a rule and the options of a route, checked and in the form that
// requests need. It is made once for each route, by [Compile] or
// [CompileInvalidation], and is safe for concurrent use.
type Route struct {
	rule     *rule // nil: nothing is looked up or stored
	options  MiddlewareOptions
	control  func(name string) bool // nil: no names
	unstored func(name string) bool
	purge    []tag
}

// Compile checks a rule and the options of the route that it is put on. It has
// no effect on any Cache; see [Cache.Register].
func Compile(r Rule, o MiddlewareOptions) (*Route, error) {
	rule, err := r.compile()
	if err != nil {
		return nil, err
	}
	control, err1 := newGlobs("Control", o.Control)
	unstored, err2 := newGlobs("Unstored", o.Unstored)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("cache: rule %s: %w", r.Name, err)
	}
	return &Route{rule: rule, options: o, control: control.matcher(), unstored: unstored.matcher(), purge: nameTags(o.PurgeTags)}, nil
}

// CompileInvalidation makes the Route of a route that caches nothing: an unsafe
// request that succeeds there invalidates what is stored for its URL (RFC 9111
// section 4.4), and purges the Tags.
func CompileInvalidation(o InvalidationOptions) *Route {
	return &Route{options: MiddlewareOptions{Scheme: o.Scheme, MayHold: o.MayHold}, purge: nameTags(o.Tags)}
}

// Register makes purges by URL find what requests on the route store. It is
// called once for each route, before requests come.
func (c *Cache) Register(r *Route) {
	if r.rule != nil {
		c.register(r.rule)
	}
}

// Middleware makes a cache with one rule, Options.Rule, for an Echo app of its
// own. It panics if the options are wrong, as that is the program's mistake.
func Middleware(o Options) echo.MiddlewareFunc {
	c, err := New(o)
	if err != nil {
		panic(err)
	}
	if o.Rule.Name == "" {
		o.Rule.Name = "default"
	}
	return c.Middleware(o.Rule, o.Route)
}

// Middleware puts the cache in front of the handlers of a route, or of a whole
// Echo app: [Compile], [Cache.Register], and [Cache.Serve] for each request. It
// panics if the rule is wrong; [Rule.Check] tells beforehand.
func (c *Cache) Middleware(r Rule, o MiddlewareOptions) echo.MiddlewareFunc {
	route, err := Compile(r, o)
	if err != nil {
		panic(err)
	}
	c.Register(route)
	return c.middleware(route)
}

// Invalidation is the middleware of [CompileInvalidation], for routes that
// cache nothing. [Cache.Middleware] invalidates by itself.
func (c *Cache) Invalidation(o InvalidationOptions) echo.MiddlewareFunc {
	return c.middleware(CompileInvalidation(o))
}

func (c *Cache) middleware(route *Route) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(ec echo.Context) error { return c.Serve(ec, route, nil, next) }
	}
}

// facts finds what a caller does not know of a GET or HEAD.
func (r *Route) facts(req *http.Request) Facts {
	f := r.target(req)
	f.Bypass = r.bypass(req)
	f.LiveSession = r.options.LiveSession != nil && r.options.LiveSession(req)
	return f
}

func (r *Route) target(req *http.Request) Facts {
	scheme := r.scheme(req)
	return Facts{Scheme: scheme, Host: httpx.Authority(req.Host, scheme), Path: httpx.RawPath(req.URL)}
}

func (r *Route) bypass(req *http.Request) bool {
	return r.options.Bypass != nil && r.options.Bypass(req)
}

// scheme gives the scheme that the client used.
func (r *Route) scheme(req *http.Request) string {
	switch {
	case r.options.Scheme != nil:
		return r.options.Scheme(req)
	case req.TLS != nil:
		return "https"
	}
	return "http"
}
