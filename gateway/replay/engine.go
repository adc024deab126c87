package replay

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/clientip"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/policies"
)

// engine is a policy at work on records: the gateway's own normalisation,
// matcher and limits, with memory for counters and the log's time for a clock.
type engine struct {
	policy   *policies.Policy
	host     string // for logs that do not tell it
	scheme   string
	matcher  *policies.Matcher
	resolver *clientip.Resolver
	counters *ratelimit.Counters
	limits   []string // names, sorted
	routes   []engineRoute
	byName   map[string]*policies.Route
	cache    *cacheEstimator // nil where no route has a cache
	headers  bool            // a header is a condition or key somewhere

	now     int64 // microseconds; the counters' clock
	pending timeHeap[settlement]
	seq     uint64
	header  http.Header // of the request at hand, used again
}

// engineRoute is a route with its limits.
type engineRoute struct {
	*policies.Route
	limiter    *ratelimit.Limiter // nil: no limits
	dryRuns    bool               // some limit only pretends
	byIdentity bool               // some limit goes by user or session
}

// settlement is an answer that limits which count by it still wait for.
type settlement struct {
	outcome *ratelimit.Result
	answer  ratelimit.Response
}

const (
	// counterBytes bounds the counters of a policy: about a million.
	counterBytes = 256 << 20
	// denialBytes bounds what is remembered of denials and bans.
	denialBytes = 64 << 20
	// maxPending bounds how many answers are waited for at once.
	maxPending = 1 << 17
	// resolution is that of our access log's time, in microseconds: an answer that was complete
	// within it before a request came may seem to be complete after it.
	resolution = 1000
)

// outcome is what becomes of a request.
type outcome uint8

const (
	passed outcome = iota
	denied
	badRequest
	notFound
	methodNotAllowed
	maintenance
)

// verdict is what a policy does with one request.
type verdict struct {
	outcome outcome
	route   int  // -1 where none takes it
	limit   int  // the one that denied, or -1
	dryRun  int  // the one that would have, or -1
	banned  bool // the denial is a ban's
	cache   cacheAnswer
}

func newEngine(p *policies.Policy, o Options) (*engine, error) {
	e := &engine{
		policy: p,
		host:   o.Host,
		scheme: o.Scheme,
		limits: slices.Sorted(maps.Keys(p.Limits)),
		byName: make(map[string]*policies.Route),
		header: make(http.Header),
	}
	var err error
	if e.matcher, err = policies.NewMatcher(p.Routes); err != nil {
		return nil, err
	}
	if e.resolver, err = clientip.New(clientip.Options{IPv6Prefix: p.Server.IPv6Prefix}); err != nil {
		return nil, err
	}
	e.counters, err = ratelimit.NewCounters(ratelimit.CountersOptions{
		MemoryBytes:    counterBytes,
		DenyCacheBytes: denialBytes,
		Now:            func() time.Time { return time.UnixMicro(e.now) },
	})
	if err != nil {
		return nil, err
	}
	for _, r := range p.Routes {
		if err := e.addRoute(r); err != nil {
			return nil, fmt.Errorf("route %s: %w", r.Name, err)
		}
	}
	e.cache = newCacheEstimator(p, o.AssumeTTL)
	return e, nil
}

func (e *engine) addRoute(r *policies.Route) error {
	rt := engineRoute{Route: r}
	e.byName[r.Name] = r
	e.headers = e.headers || len(r.Match.Headers) > 0
	var limits []ratelimit.Limit
	for _, name := range r.Limits {
		l, err := server.Limit(name, e.policy.Limits[name])
		if err != nil {
			return err
		}
		rt.dryRuns = rt.dryRuns || l.DryRun
		for _, part := range l.Key {
			switch part.Kind {
			case ratelimit.KeyHeader:
				e.headers = true
			case ratelimit.KeyUser, ratelimit.KeySession:
				rt.byIdentity = true
			}
		}
		limits = append(limits, l)
	}
	if len(limits) > 0 {
		options := ratelimit.Options{Limits: limits, Counters: e.counters, Headers: ratelimit.HeadersOff}
		if r.Session == policies.SessionLogin {
			options.Succeeded = loggedIn
		}
		var err error
		if rt.limiter, err = ratelimit.New(options); err != nil {
			return err
		}
	}
	e.routes = append(e.routes, rt)
	return nil
}

func (e *engine) close() { e.counters.Close() }

// decide says what becomes of a request, and counts it.
func (e *engine) decide(r *record) verdict {
	e.now = max(e.now, r.At)
	e.settleUntil(e.now + resolution)

	v := verdict{route: -1, limit: -1, dryRun: -1}
	req, host, ok := e.request(r)
	switch {
	case !ok:
		v.outcome = badRequest
		return v
	case r.URI == "*": // OPTIONS *: the gateway answers for itself
		return v
	case r.Method == http.MethodConnect:
		v.outcome = methodNotAllowed
		return v
	}
	m := e.matcher.Match(&req)
	switch m.Outcome {
	case policies.NotFound:
		v.outcome = notFound
		return v
	case policies.MethodNotAllowed:
		v.outcome = methodNotAllowed
		return v
	}
	v.route = m.Index
	rt := &e.routes[m.Index]
	switch {
	case rt.Maintenance != nil && !slices.ContainsFunc(rt.Maintenance.Allow, func(p netip.Prefix) bool { return p.Contains(r.Addr) }):
		v.outcome = maintenance
		return v
	case rt.CORS != nil && isPreflight(r):
		return v
	}
	if rt.limiter != nil {
		e.limit(rt, r, &req, &v)
	}
	if v.outcome == passed && e.cache != nil {
		v.cache = e.cache.answer(e, rt, r, &req, host)
	}
	return v
}

// request brings a record's host and path into the form that everything
// behind the front door sees. It is not ok where the answer would be 400.
func (e *engine) request(r *record) (req policies.Request, host httpx.NormalHost, ok bool) {
	if r.Method == "" {
		return req, host, false
	}
	named, path, query := splitTarget(r.URI)
	if named == "" {
		named = r.Host
	}
	if named == "" {
		named = e.host
	}
	host, err := httpx.NormalizeHost(named, e.scheme)
	if err != nil {
		return req, host, false
	}
	req = policies.Request{Host: host.Name, Method: r.Method, RawQuery: query, ClientIP: r.Addr}
	if r.URI != "*" && r.Method != http.MethodConnect {
		normal, err := httpx.NormalizePath(path)
		if err != nil {
			return req, host, false
		}
		req.Path = normal.RawPath
	}
	if e.headers {
		req.Header = e.knownHeaders(r)
	}
	return req, host, true
}

// splitTarget takes a request's target apart: /path?query, or in absolute form
// with scheme and host before it (RFC 9112 section 3.2.2).
func splitTarget(target string) (host, path, query string) {
	if !strings.HasPrefix(target, "/") {
		if _, rest, ok := strings.Cut(target, "://"); ok {
			end := strings.IndexAny(rest, "/?")
			if end < 0 {
				return rest, "/", ""
			}
			host, target = rest[:end], rest[end:]
			if target[0] == '?' {
				target = "/" + target
			}
		}
	}
	path, query, _ = strings.Cut(target, "?")
	return host, path, query
}

// knownHeaders are the request's headers as far as a log tells them. Where our
// own log says that a route took the request, it met that route's conditions.
func (e *engine) knownHeaders(r *record) http.Header {
	clear(e.header)
	if r.Agent != "" {
		e.header["User-Agent"] = []string{r.Agent}
	}
	if r.Referer != "" {
		e.header["Referer"] = []string{r.Referer}
	}
	if r.Own != nil {
		if route := e.byName[r.Own.Route]; route != nil {
			for name, value := range route.Match.Headers {
				e.header.Set(name, value)
			}
		}
	}
	return e.header
}

// isPreflight reports whether a request to a route that answers for CORS is a
// preflight. Other logs do not have its headers; but hardly anything else sends OPTIONS.
func isPreflight(r *record) bool {
	if r.Method != http.MethodOptions {
		return false
	}
	return r.Own == nil || !r.Own.Answered && r.Own.Limit == ""
}

// limit asks the route's limits, as the gateway's admit does.
func (e *engine) limit(rt *engineRoute, r *record, req *policies.Request, v *verdict) {
	who := ratelimit.Request{
		Addr: r.Addr, Bucket: e.resolver.Bucket(r.Addr),
		Route: rt.Name, Method: r.Method, Host: req.Host, Header: http.Header(req.Header),
	}
	if r.Own != nil {
		if c := e.policy.Clients[r.Own.Client]; c != nil {
			who.Client, who.Plan = r.Own.Client, c.Plan
		}
		if rt.Session != policies.SessionOff {
			who.User, who.Session = r.Own.User, r.Own.Session
		}
	}
	var o *ratelimit.Result
	if rt.byIdentity { // the gateway does so before it knows the session; otherwise it makes no difference
		o = rt.limiter.Denied(&who)
	}
	if o == nil {
		o = rt.limiter.Check(context.Background(), &who, nil)
	}
	if !o.Allowed() || rt.dryRuns {
		for _, d := range o.Decisions() {
			switch {
			case d.Allowed:
			case !d.DryRun && v.limit < 0:
				v.limit, v.banned = e.limitIndex(d.Name), d.Banned
			case d.DryRun && v.dryRun < 0:
				v.dryRun = e.limitIndex(d.Name)
			}
		}
	}
	if !o.Allowed() {
		v.outcome, v.dryRun = denied, -1
		return
	}
	if o.NeedsResponse() {
		e.settleLater(rt, r, o)
	}
}

func (e *engine) limitIndex(name string) int {
	i, _ := slices.BinarySearch(e.limits, name)
	return i
}

// settleLater has a reservation settled when the answer was complete.
func (e *engine) settleLater(rt *engineRoute, r *record, o *ratelimit.Result) {
	s := settlement{outcome: o, answer: ratelimit.Response{Status: r.Status}}
	switch {
	case rt.Respond != nil:
		s.answer.Status = rt.Respond.Status
	case rt.Redirect != nil:
		s.answer.Status = rt.Redirect.Status
	case r.Status == statusClientGone || r.Status == 0:
		s.answer = ratelimit.Response{} // no response: the request stays charged
	case r.Own != nil:
		s.answer.Own = r.Own.Failed
		if r.Own.LoggedIn {
			s.answer.Header = loginHeader
		}
	case r.Status < 400 && rt.Session == policies.SessionLogin:
		s.answer.Header = loginHeader // what other logs tell comes no nearer to it
	}
	if len(e.pending) >= maxPending {
		e.settle(e.pending.pop().v)
	}
	e.seq++
	e.pending.push(timed[settlement]{r.At + r.Took.Microseconds(), e.seq, s})
}

// loginHeader stands for the app's word that it has logged somebody in.
var loginHeader = http.Header{"Headgate-Login": {"?1"}}

func loggedIn(_ int, h http.Header) bool { return h.Get("Headgate-Login") != "" }

func (e *engine) settleUntil(at int64) {
	for len(e.pending) > 0 && e.pending[0].at <= at {
		e.settle(e.pending.pop().v)
	}
}

func (e *engine) settle(s settlement) { s.outcome.Settle(context.Background(), s.answer) }
