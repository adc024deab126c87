package ratelimit

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/clientip"
)

// Subject is who a request has proved to come from: the owner of a known API key,
// the user and the reference of a live session. Where a field is empty, the client's
// IP is counted instead, so that a client cannot get fresh counters by making up a key
// or a cookie, or by having anonymous sessions made for it.
type Subject struct {
	Client      string // by API key
	Plan        string // that client's plan
	User        string // of the session
	Session     string // the session itself, by an opaque reference; without a User it counts by the IP
	SessionPlan string // the plan that the app has put the session on; without a User it does not count
}

// PlanUser is the plan of every session that has a user.
const PlanUser = "user"

// plans are the plans that the subject is on, the one that counts most first: the plan of the
// client, which the operator has given it, then the one of the session, then [PlanUser]. A limit
// goes by the first that it has a number for.
func (s *Subject) plans() (plans [3]string) {
	plans[0] = s.Plan
	if s.User != "" {
		plans[1], plans[2] = s.SessionPlan, PlanUser
	}
	return plans
}

type subjectKey struct{}

// NewContext returns a context that carries s.
func NewContext(ctx context.Context, s Subject) context.Context {
	return context.WithValue(ctx, subjectKey{}, s)
}

// FromContext returns the Subject that [NewContext] put there.
func FromContext(ctx context.Context) (Subject, bool) {
	s, ok := ctx.Value(subjectKey{}).(Subject)
	return s, ok
}

// Request is what limits may be keyed by. It belongs to one request and is not
// safe for concurrent use.
type Request struct {
	// Addr is the client's address; Limit.Allow is matched with it.
	Addr netip.Addr
	// Bucket is what key ip counts: Addr, or an IPv6 client's prefix. The zero
	// value means Addr.
	Bucket netip.Addr
	Route  string
	Method string
	Host   string
	Header http.Header
	// Query is what follows the ? of the target, as the client sent it.
	Query string
	// Params has what key param counts. Nil means that no path parameter is known.
	Params Params
	Subject
	// NoSession says that the request has no session, rather than that it is not known yet; see
	// [Limiter.Denied].
	NoSession bool

	account   string  // of CheckAttempt
	device    string  // that is known to the account; it has a counter of its own
	spare     *Result // of Denied, for Check
	inspected bool    // an operator has named the values, of a session without its user
}

// Params are the parameters of a route's path.
type Params interface {
	// Param returns what the parameter of that name matched, percent-encoded with hex digits in
	// upper case, and with its ;parameters; "" where there is none.
	Param(name string) string
}

// RequestOf gathers what limits may be keyed by from an HTTP request: the
// address from clientip's context value, the Subject from [NewContext]. Without
// the former, it is resolver's view of the request, or where that is nil the
// peer's address.
func RequestOf(r *http.Request, route string, resolver *clientip.Resolver) Request {
	req := Request{Route: route, Method: r.Method, Host: r.Host, Header: r.Header, Query: r.URL.RawQuery}
	req.Subject, _ = FromContext(r.Context())
	if info, ok := clientip.FromContext(r.Context()); ok {
		req.Addr, req.Bucket = info.Addr, info.Bucket
	} else if resolver != nil {
		req.Addr = resolver.Resolve(r)
		req.Bucket = resolver.Bucket(req.Addr)
	} else if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		req.Addr = peer.Addr().Unmap().WithZone("")
	}
	return req
}

// canonicalMethod is the method as key method counts it: HEAD counts as GET,
// and all methods that a client makes up count as one.
func canonicalMethod(method string) string {
	switch {
	case method == http.MethodHead:
		return http.MethodGet
	case httpx.IsStandardMethod(method):
		return method
	}
	return "other"
}
