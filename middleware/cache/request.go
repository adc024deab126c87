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

// request is one GET or HEAD on its way through the cache.
type request struct {
	cache  *Cache
	route  *Route
	origin echo.HandlerFunc
	c      echo.Context
	now    time.Time

	head     bool // the method is HEAD
	form     form
	attempts uint8              // how often it has waited for a flight
	cc       rfc9111.Directives // the client's Cache-Control
	want     rfc9111.Request

	scheme, host string  // of the key
	text         *[]byte // of the key, from the cache's pool
	hash         keyHash
	implicit     []tag // the tags that the target implies; computed when first needed

	base   *entry             // selected, but to be validated first
	varies []rfc9111.Selector // of the newest response stored for the key
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

// hasBody reports whether a request carries content. A GET's content may
// matter to the origin, and is not part of any key.
func hasBody(req *http.Request) bool {
	return req.ContentLength != 0 && req.Body != nil && req.Body != http.NoBody || len(req.TransferEncoding) > 0
}

// read takes from the request what the cache has to know of it.
func (x *request) read(req *http.Request) {
	h := req.Header
	x.head = req.Method == http.MethodHead
	for _, name := range rfc9111.Preconditions {
		if _, ok := h[name]; ok {
			x.form = max(x.form, formConditional)
		}
	}
	if _, ok := h["Range"]; ok {
		x.form = formRange
	}
	if lines := h["Cache-Control"]; len(lines) > 0 {
		x.cc = rfc9111.ParseCacheControl(lines)
	}
	x.want = rfc9111.Request{Directives: &x.cc, Obey: x.route.rule.ClientRevalidation, Class: x.route.classOf(req), Field: x.route.fieldsOf(req)}
}

// plain reports whether the client asks for the whole, unconditionally.
func (x *request) plain() bool { return !x.head && x.form == formWhole }

func (r *Route) classOf(req *http.Request) (c rfc9111.Class) {
	if _, ok := req.Header["Authorization"]; ok {
		c |= rfc9111.WithAuthorization
	}
	if _, ok := req.Header["Cookie"]; ok {
		c |= rfc9111.WithCookie
	}
	if r.options.LiveSession != nil && r.options.LiveSession(req) {
		c |= rfc9111.WithSession
	}
	return c
}

// withoutIgnoredCookies gives the request without the cookies that the rule
// ignores, for the key and for the origin. It is a copy if there are any: code
// that holds the request from before finds it unchanged.
func (r *Route) withoutIgnoredCookies(req *http.Request) *http.Request {
	lines := req.Header["Cookie"]
	if len(lines) == 0 || len(r.rule.ignoreCookies) == 0 {
		return req
	}
	var kept []string
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			pair = httpx.TrimOWS(pair)
			name, _, _ := strings.Cut(pair, "=")
			if pair != "" && !r.rule.ignoreCookies.match(httpx.TrimOWS(name)) {
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
	return copied
}

// fieldsOf gives access to a request's fields as the origin will see them.
func (r *Route) fieldsOf(req *http.Request) func(name string) []string {
	if r.options.UpstreamField != nil {
		return func(name string) []string { return r.options.UpstreamField(req, name) }
	}
	return func(name string) []string {
		if name == "Host" {
			return []string{req.Host}
		}
		return req.Header[name]
	}
}

// open computes the key. close gives its buffer back.
func (x *request) open(req *http.Request) {
	key := x.route.keyOf(req)
	x.scheme, x.host = key.Scheme, key.Host
	x.text = x.cache.keys.get()
	*x.text = key.appendText(*x.text)
	x.hash = sha256.Sum256(*x.text)
}

func (x *request) close() {
	x.cache.keys.put(x.text)
	x.text = nil
}

func (x *request) implicitTags() []tag {
	if x.implicit == nil {
		u := x.c.Request().URL
		x.implicit = targetTags(x.host, httpx.RawPath(u), string(appendQuery(nil, x.route.rule, u.RawQuery)))
	}
	return x.implicit
}

// flightKey names the flight that this request may share.
func (x *request) flightKey() flightKey {
	purges := x.cache.purges
	return flightKey{
		key: x.hash, class: x.want.Class, variant: rfc9111.VariantFor(x.varies, x.want.Field),
		generation: max(purges.Generation(x.implicitTags()), purges.Generation(x.route.rule.tags)),
	}
}

// chooseMode says how to ask the origin for this request, and which flight to
// wait for.
func (x *request) chooseMode(key flightKey) (fetchMode, joining) {
	c := x.cache
	single, whole := leaderOnly, fetchShared
	if !x.plain() {
		single, whole = forwardAsSent, fetchWhole
	}
	switch {
	case c.hitForMiss.Has(key):
		return single, aloneHitForMiss
	case !x.plain() && x.attempts == 0 && x.base == nil && !c.fetchesWhole(key):
		return single, joinOrAlone // the first of its kind
	case x.cc.NoStore:
		// Its response may not be stored (RFC 9111 section 5.2.1.5): a client
		// that says so must not have other clients wait for that.
		return single, joinOrAlone
	case x.validatesAlone(), x.head && x.base != nil && !c.fetchesWhole(key):
		return single, alone
	}
	return whole, joinOrLead
}

// validatesAlone reports whether a validation serves this request only: the
// stored response must be validated each time, or the client demands it and is
// obeyed.
func (x *request) validatesAlone() bool {
	return (x.base != nil && x.base.NoCache) || x.want.ForcesValidation()
}

// newJob detaches from the request what a fetch needs of it.
func (x *request) newJob(ctx context.Context, mode fetchMode) *job {
	r, c := x.route, x.c
	req := c.Request().Clone(ctx)
	req.Body, req.ContentLength = http.NoBody, 0
	field := r.fieldsOf(req)
	return &job{
		mode: mode, mustValidate: !mode.shared() && x.want.Obey && x.validatesAlone(),
		rule: r.rule, origin: x.origin, echo: c.Echo(), req: req, head: x.head,
		path: c.Path(), names: slices.Clone(c.ParamNames()), values: slices.Clone(c.ParamValues()),
		hash: x.hash,
		want: rfc9111.Request{Class: x.want.Class, Field: field, Directives: &rfc9111.Directives{}},
		storing: storing{
			Storing: rfc9111.Storing{
				Policy: &r.rule.freshness, Class: x.want.Class, NoStore: x.cc.NoStore && mode != refreshStale, Field: field,
				Unstored: r.unstored, Control: r.control,
			},
			keyText: string(*x.text), implicit: x.implicitTags(), ruleTags: r.rule.tags, origin: x.scheme + "://" + x.host,
		},
	}
}
