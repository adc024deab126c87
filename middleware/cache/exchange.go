package cache

import (
	"context"
	"crypto/sha256"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// exchange is one request on its way through the cache.
type exchange struct {
	m   *route
	c   echo.Context
	now time.Time

	scheme, host string
	text         *[]byte // of the key, from the cache's pool
	hash         keyHash
	want         rfc9111.Request
	cc           rfc9111.Directives
	target       []tag // computed when first needed

	head, conditional, ranged bool

	base    *entry             // selected, but to be validated first
	varies  []rfc9111.Selector // of the newest response stored for the key
	attempt int
	lonely  bool // what was waited for was not to be shared: go alone
}

// unsafeMethod reports whether a method may change what is stored: every one
// that is not known to be safe (RFC 9110 section 9.2.1, RFC 9111 section 4.4).
func unsafeMethod(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return false
	}
	return true
}

// classify reads what the cache has to know of a request. A request that it
// has nothing to do with gives the reason, as RFC 9211 names it.
func (x *exchange) classify(req *http.Request) (why string) {
	x.now = x.m.cache.now()
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		return fwdMethod
	}
	req = x.stripCookies(req)
	h := req.Header
	if hasBody(req) || len(h["Upgrade"]) > 0 || (x.m.opts.Bypass != nil && x.m.opts.Bypass(req)) ||
		strings.Count(req.URL.Path, "/") > maxSegments {
		return fwdBypass
	}
	x.head = req.Method == http.MethodHead
	for _, name := range rfc9111.Preconditions {
		if _, ok := h[name]; ok {
			x.conditional = true
			x.ranged = x.ranged || name == "Range"
		}
	}
	if lines := h["Cache-Control"]; len(lines) > 0 {
		x.cc = rfc9111.ParseCacheControl(lines)
	}
	x.want = rfc9111.Request{Directives: &x.cc, Obey: x.m.rule.ClientRevalidation, Class: x.classOf(req), Field: x.m.fieldsOf(req)}
	return ""
}

// hasBody reports whether a request carries content. A GET's content may
// matter to the origin, and is not part of any key.
func hasBody(req *http.Request) bool {
	return req.ContentLength != 0 && req.Body != nil && req.Body != http.NoBody || len(req.TransferEncoding) > 0
}

func (x *exchange) classOf(req *http.Request) (c rfc9111.Class) {
	if _, ok := req.Header["Authorization"]; ok {
		c |= rfc9111.WithAuthorization
	}
	if _, ok := req.Header["Cookie"]; ok {
		c |= rfc9111.WithCookie
	}
	if x.m.opts.LiveSession != nil && x.m.opts.LiveSession(req) {
		c |= rfc9111.WithSession
	}
	return c
}

// stripCookies removes the cookies that the rule ignores, here and for the
// origin. Whoever holds the request from before keeps it as it was.
func (x *exchange) stripCookies(req *http.Request) *http.Request {
	lines := req.Header["Cookie"]
	if len(lines) == 0 || len(x.m.rule.ignoreCookies) == 0 {
		return req
	}
	var kept []string
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			pair = httpx.TrimOWS(pair)
			name, _, _ := strings.Cut(pair, "=")
			if pair != "" && !x.m.rule.ignoreCookies.match(httpx.TrimOWS(name)) {
				kept = append(kept, pair)
			}
		}
	}
	copied := req.WithContext(req.Context())
	copied.Header = maps.Clone(req.Header)
	delete(copied.Header, "Cookie")
	if len(kept) > 0 {
		copied.Header["Cookie"] = []string{strings.Join(kept, "; ")}
	}
	x.c.SetRequest(copied)
	return copied
}

// fieldsOf gives access to a request's fields as the origin will see them.
func (m *route) fieldsOf(req *http.Request) func(name string) []string {
	if m.opts.UpstreamField != nil {
		return func(name string) []string { return m.opts.UpstreamField(req, name) }
	}
	return func(name string) []string {
		if name == "Host" {
			return []string{req.Host}
		}
		return req.Header[name]
	}
}

func (m *route) scheme(req *http.Request) string {
	switch {
	case m.opts.Scheme != nil:
		return m.opts.Scheme(req)
	case req.TLS != nil:
		return "https"
	}
	return "http"
}

// open computes the key. close gives its buffer back.
func (x *exchange) open() {
	req := x.c.Request()
	x.scheme = x.m.scheme(req)
	x.host = httpx.Authority(req.Host, x.scheme)
	x.text = x.m.cache.keys.get()
	*x.text = appendKey(*x.text, x.m.rule, x.m.opts.Partition, x.scheme, x.host, req.URL, req.Header)
	x.hash = sha256.Sum256(*x.text)
}

func (x *exchange) close() {
	x.m.cache.keys.put(x.text)
	x.text = nil
}

func (x *exchange) targetTags() []tag {
	if x.target == nil {
		u := x.c.Request().URL
		x.target = targetTags(x.host, httpx.RawPath(u), string(appendQuery(nil, x.m.rule, u.RawQuery)))
	}
	return x.target
}

// flightKey names the flight that this request may share.
func (x *exchange) flightKey() flightKey {
	key := flightKey{key: x.hash, class: x.want.Class, generation: x.m.cache.purges.generation(x.targetTags())}
	key.generation = max(key.generation, x.m.cache.purges.generation(x.m.rule.tags))
	if len(x.varies) > 0 {
		names := make([]string, len(x.varies))
		for i := range x.varies {
			names[i] = x.varies[i].Name
		}
		key.variant = rfc9111.VariantOf(rfc9111.SelectorsOf(names, x.want.Field))
	}
	return key
}

// job detaches from the request what a fetch needs of it.
func (x *exchange) job(ctx context.Context) *job {
	m, c := x.m, x.c
	req := c.Request().Clone(ctx)
	req.Body, req.ContentLength = http.NoBody, 0
	field := m.fieldsOf(req)
	return &job{
		route: m.on(c.Echo()), req: req,
		path: c.Path(), names: slices.Clone(c.ParamNames()), values: slices.Clone(c.ParamValues()),
		hash: x.hash, head: x.head,
		want: rfc9111.Request{Class: x.want.Class, Field: field, Directives: &rfc9111.Directives{}},
		storing: storing{
			Storing: rfc9111.Storing{
				Policy: &m.rule.freshness, Class: x.want.Class, NoStore: x.cc.NoStore, Field: field,
				Unstored: m.unstored.matcher(), Control: m.control.matcher(),
			},
			keyText: string(*x.text), target: x.targetTags(), ruleTags: m.rule.tags, origin: x.scheme + "://" + x.host,
		},
	}
}

// on gives the route with the Echo that its contexts are made by.
func (m *route) on(e *echo.Echo) *route {
	r := *m
	r.echo = e
	return &r
}

// note tells the observer what became of the request.
func (x *exchange) note(r Result) {
	r.Rule = x.m.rule.Name
	x.m.cache.observer.Request(r)
}

// pass sends the request to the next handler with the client's own writer, as
// if there were no cache.
func (x *exchange) pass(fwd, detail string) error {
	x.note(Result{Forward: fwd, Detail: detail})
	res := x.c.Response()
	status := outcomeStatus{fwd: fwd, detail: detail}
	name := x.m.cache.name
	res.Before(func() { status.set(res.Header(), name) })
	return x.m.next(x.c)
}
