package cache

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// request is one request on its way through the cache.
type request struct {
	cache  *Cache
	route  *Route
	origin echo.HandlerFunc
	c      echo.Context
	facts  Facts
	told   bool // facts are the caller's

	head                  bool     // the method is HEAD
	content               *content // of a QUERY
	unasked               int64    // bytes of a QUERY that goes past the cache, which were read and are reserved until it ends
	detail                string   // for Cache-Status, of a request that goes past the cache
	form                  form
	noStore, onlyIfCached bool // of the client's Cache-Control
	want                  rfc9111.Request

	keyText  string // known from a miss on
	hash     keyHash
	now      time.Time
	implicit []tag // the tags that the target implies; computed when first needed

	attempts uint8              // how often it has waited for a flight
	base     *entry             // selected, but to be validated first
	varies   []rfc9111.Selector // of the newest response stored for the key
}

// read takes from the request what the cache has to know of it, and says what
// to do with it and why. The rest of request is for [ActionLookUp].
func (x *request) read(known *Facts) (Action, string) {
	r, req := x.route, x.c.Request()
	if known != nil {
		x.facts, x.told = *known, true
	}
	action, why := r.byMethod(req.Method)
	if action != ActionLookUp {
		if known == nil {
			x.facts.Scheme = r.scheme(req)
		}
		return action, why
	}
	if stripped := r.withoutIgnoredCookies(req); stripped != req {
		x.c.SetRequest(stripped)
		req = stripped
	}
	if unkeyed(req) {
		return ActionForward, fwdBypass
	}
	if known == nil {
		x.facts = r.facts(req)
	}
	if x.facts.Bypass {
		return ActionForward, fwdBypass
	}
	if req.Method == httpx.MethodQuery && !x.readContent() {
		return ActionForward, fwdBypass
	}
	x.head, x.form = req.Method == http.MethodHead, formOf(req.Header)
	x.want = rfc9111.Request{Obey: r.rule.ClientRevalidation, Class: classOf(req.Header, x.facts.LiveSession), Field: r.fieldsOf(req)}
	if lines := req.Header["Cache-Control"]; len(lines) > 0 {
		d := rfc9111.ParseCacheControl(lines)
		x.noStore, x.onlyIfCached, x.want.Directives = d.NoStore, d.OnlyIfCached, &d
	}
	return ActionLookUp, ""
}

// byMethod says what a request's method decides. Every method that is not known
// to be safe may change what is stored (RFC 9110 section 9.2.1, RFC 9111
// section 4.4).
func (r *Route) byMethod(method string) (a Action, why string) {
	switch {
	case method == http.MethodGet, method == http.MethodHead, method == httpx.MethodQuery:
		a = ActionLookUp
	case httpx.IsSafe(method):
		a, why = ActionForward, fwdMethod
	default:
		return ActionInvalidate, fwdMethod
	}
	if r.rule == nil {
		return ActionForward, ""
	}
	return a, why
}

// unkeyed reports whether the response to a request may depend on what is not
// part of any key: a GET or HEAD carries content, or the request changes the
// protocol. A path of too many segments has more tags than an entry may have.
func unkeyed(req *http.Request) bool {
	return req.Method != httpx.MethodQuery && hasContent(req) || len(req.Header["Upgrade"]) > 0 || strings.Count(req.URL.Path, "/") > maxSegments
}

func hasContent(req *http.Request) bool {
	return req.ContentLength != 0 && req.Body != nil && req.Body != http.NoBody || len(req.TransferEncoding) > 0
}

func formOf(h http.Header) form {
	asked := formWhole
	for _, name := range rfc9111.Preconditions {
		if _, ok := h[name]; !ok {
			continue
		}
		if name == "Range" {
			return formRange
		}
		asked = formConditional
	}
	return asked
}

// plain reports whether the client asks for the whole, unconditionally.
func (x *request) plain() bool { return !x.head && x.form == formWhole }

func classOf(h http.Header, liveSession bool) (c rfc9111.Class) {
	if _, ok := h["Authorization"]; ok {
		c |= rfc9111.WithAuthorization
	}
	if _, ok := h["Cookie"]; ok {
		c |= rfc9111.WithCookie
	}
	if liveSession {
		c |= rfc9111.WithSession
	}
	return c
}

// withoutIgnoredCookies gives the request without the cookies that the rule
// ignores, for the key and for the origin. It is a copy if there are any: code
// that holds the request from before finds it unchanged.
func (r *Route) withoutIgnoredCookies(req *http.Request) *http.Request {
	if len(r.rule.ignoreCookies) == 0 || len(req.Header["Cookie"]) == 0 {
		return req
	}
	var kept []string
	for _, line := range req.Header["Cookie"] {
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

// HasCookies reports whether a request has a cookie that the rule does not ignore.
func (r *Route) HasCookies(h http.Header) bool {
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			pair = httpx.TrimOWS(pair)
			name, _, _ := strings.Cut(pair, "=")
			if pair != "" && (r.rule == nil || !r.rule.ignoreCookies.match(httpx.TrimOWS(name))) {
				return true
			}
		}
	}
	return false
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

func (x *request) implicitTags() []tag {
	if x.implicit == nil {
		query := appendQuery(nil, x.route.rule, x.c.Request().URL.RawQuery)
		x.implicit = targetTags(x.facts.Host, x.facts.Path, string(query))
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
	case x.noStore:
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
	req.Body, req.ContentLength = http.NoBody, 0 // of a QUERY: each request to the origin reads the content from its start
	field := r.fieldsOf(req)
	return &job{
		mode: mode, mustValidate: !mode.shared() && x.want.Obey && x.validatesAlone(),
		content: x.content, rule: r.rule, origin: x.origin, errorStatus: r.options.ErrorStatus, echo: c.Echo(), req: req, head: x.head,
		path: c.Path(), names: slices.Clone(c.ParamNames()), values: slices.Clone(c.ParamValues()),
		hash: x.hash, client: x.client(), unlisted: x.queryUnlisted(),
		want: rfc9111.Request{Class: x.want.Class, Field: field},
		storing: storing{
			Storing: rfc9111.Storing{
				Policy: &r.rule.freshness, Class: x.want.Class, NoStore: x.noStore && mode != refreshStale, Field: field,
				Unstored: r.unstored, Control: r.control,
			},
			keyText: x.keyText, implicit: x.implicitTags(), ruleTags: r.rule.tags, origin: x.facts.Scheme + "://" + x.facts.Host,
		},
	}
}
