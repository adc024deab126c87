package pipeline

import (
	"context"
	"errors"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/middleware/store"
)

// remembered answers a client that is known to be over a limit. That costs Redis
// nothing.
func remembered(r *Request) *Answer {
	r.beginSubject()
	if r.backends.Remembered(r) {
		return r.deny()
	}
	return nil
}

// admit finds the session and has the limits decide.
func admit(r *Request) *Answer {
	r.beginSubject()
	if !r.backends.Admit(r) {
		return r.deny()
	}
	return nil
}

// beginSubject gathers what the limits count by, as far as it is known without a
// session.
func (r *Request) beginSubject() {
	if r.subject.Method != "" {
		return
	}
	r.subject = ratelimit.Request{
		Addr: r.Info.Addr, Bucket: r.Info.Bucket,
		Route: r.Route.Name, Method: r.Method, Host: r.Host, Header: r.Header,
		Query: r.Query, Params: (*pathParams)(r),
	}
	if r.Client != nil {
		r.subject.Client, r.subject.Plan = r.Client.Name, r.Client.Plan
	}
}

// pathParams are the parameters of a request's path as the limits count them.
type pathParams Request

// Param is what the route's :name matched. Where the route ignores case the app server does
// too, so that a client must not get fresh counters by writing capitals.
func (p *pathParams) Param(name string) string {
	value := p.Match.Param(name)
	if p.Route.Policy.IgnoreCase {
		value = httpx.FoldPath(httpx.SegmentName(value)) // which must come first: it folds the digits of escapes, too
	}
	return value
}

var errNoRedis = errors.New("rate limits cannot be checked without Redis")

// deny is the answer to a request that the limits do not admit.
func (r *Request) deny() *Answer {
	if r.Limits == nil { // an explanation, which has no Result
		r.answer = Answer{form: asDenial, Status: r.answer.Status, Detail: r.answer.Detail}
		return &r.answer
	}
	a := denialBy(r.Limits)
	if a.Cause == nil && r.Limits.Waited() > 0 && r.Err() != nil {
		a.Cause = context.Cause(r) // it has left the line
	}
	r.answer = a
	return &r.answer
}

// denialBy is the answer of limits that do not allow a request, or the app's answer to it.
func denialBy(limits *ratelimit.Result) Answer {
	a := Answer{
		Status: limits.Status(), form: asDenial, limits: limits,
		Detail: "Request cannot be satisfied as assigned quota has been exceeded.",
	}
	if limits.Closed() {
		a.Detail = limits.Reason()
	} else if limits.Unavailable() {
		a.Detail, a.Cause = "Rate limits cannot be checked at the moment.", errNoRedis
	}
	return a
}

func (b liveBackends) Remembered(r *Request) bool {
	if r.Route.byPlan {
		b.readCookies(r)
		r.subject.NoSession = !r.Session.HasToken()
	}
	r.Limits = r.Route.limiter.Denied(&r.subject)
	return r.Limits != nil
}

// Admit finds the session and asks the limits, in one round trip to Redis where that
// can be: limits by user or session, and those with numbers for plans, go by whom this instance
// remembers the cookie to belong to. A wrong guess is refunded, and asked again: so a plan that the
// app has changed through another instance holds here from the next request on.
func (b liveBackends) Admit(r *Request) bool {
	b.readCookies(r)
	b.ask(r)
	if live := r.Session.Session(); live != nil {
		r.user, r.ref, r.plan = live.User, live.Ref, live.Plan
	} else if r.Limits != nil && !r.Limits.Allowed() {
		// As remembered: the session was not asked for.
		r.user, r.ref, r.plan = r.subject.User, r.subject.Session, r.subject.SessionPlan
	}
	if r.Limits == nil {
		return true
	}
	if r.Limits.Allowed() {
		r.settleLater()
		r.Limits.WriteHeaders(r.echo.Response().Header())
		return true
	}
	return false
}

// readCookies makes the request's session of its cookies, which asks nothing.
func (b liveBackends) readCookies(r *Request) {
	if r.Session != nil {
		return
	}
	if r.Session = r.Route.noSession; r.Session == nil {
		r.Session = b.parts.Sessions.ForRequest(r.http, r.Route.session)
	}
}

// ask leaves in the request what the limits decided, nil where the route has none. It does so before anything else
// can fail: an admitted request may hold what must be given back.
func (b liveBackends) ask(r *Request) {
	limiter, rs, who := r.Route.limiter, r.Session, &r.subject
	var batch *store.Batch
	if redis := b.parts.Redis; redis != nil && rs.HasToken() {
		batch = redis.NewBatch()
		rs.AddTo(batch)
	}
	if limiter == nil {
		r.Limits = nil
		_ = rs.Load(r) // Authorize knows what an error means on this route
		return
	}

	guessed, sure := rs.Remembered()
	if r.Route.byIdentity && rs.HasToken() && !sure {
		_ = rs.Load(r)
		countBy(who, identityOf(rs))
		r.Limits = limiter.Check(r, who, nil)
		return
	}

	countBy(who, guessed)
	r.Limits = limiter.Check(r, who, batch)
	if !r.Limits.Allowed() && batch != nil && batch.Pending() && !(r.Limits.Closed() && r.Route.byPlan) {
		return // remembered as denied: the session does not matter, but for the plan that it is on
	}
	_ = rs.Load(r)
	if !r.Route.byIdentity {
		return
	}
	found := identityOf(rs)
	if found == guessed {
		return
	}
	r.Limits.Refund(r)
	countBy(who, found)
	r.Limits = limiter.Check(r, who, nil)
}

// countBy makes the limits count by whom a session speaks for, and by the plan that it is on.
func countBy(who *ratelimit.Request, id session.Identity) {
	who.User, who.Session, who.SessionPlan = id.User, id.Ref, id.Plan
}

// identityOf is whom the live session speaks for; the zero Identity where there is none.
func identityOf(rs *session.RequestSession) (id session.Identity) {
	if live := rs.Session(); live != nil {
		id = live.Identity()
	}
	return id
}
