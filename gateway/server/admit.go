package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/headgate/headgate/gateway/listener"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/middleware/store"
	"github.com/headgate/headgate/policies"
	"github.com/labstack/echo/v4"
)

// admit decides whether a request may pass, in this order: the deny cache,
// which costs nothing; the session and the limits, in one round trip to Redis;
// the limits' denial; the session's rule; and whether an API key is needed.
func (rt *route) admit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		x, r := exchangeOf(c), c.Request()
		who := ratelimit.Request{
			Addr: x.Info.Addr, Bucket: x.Info.Bucket,
			Route: rt.name, Method: r.Method, Host: x.host, Header: r.Header,
		}
		if x.api != nil {
			who.Client, who.Plan = x.api.name, x.api.plan
		}
		if rt.limiter != nil {
			if denied := rt.limiter.Denied(&who); denied != nil {
				return x.deny(c, denied)
			}
		}

		rs := rt.requestSession(r)
		x.session = rs
		outcome := rt.ask(r.Context(), rs, &who)
		// The log tells of denied requests, too, by whom they were counted, so that
		// a replay of it counts them alike.
		if live := rs.Session(); live != nil {
			x.user, x.ref = live.User, live.Ref
		} else if outcome != nil && !outcome.Allowed() {
			x.user, x.ref = who.User, who.Session // as remembered: the session was not asked for
		}
		if outcome != nil {
			if !outcome.Allowed() {
				return x.deny(c, outcome)
			}
			x.dryRun = outcome.DryRunDeniedBy()
			x.settleLater(c, outcome)
			outcome.WriteHeaders(c.Response().Header())
		}

		if verdict := rs.Authorize(); !verdict.Pass() {
			x.barred = verdict.NeedsSession()
			return refuseSession(c, verdict)
		}
		if rt.policy.Client == policies.ClientRequired && x.api == nil {
			return refuse(http.StatusUnauthorized, "An API key is needed: X-API-Key, or Authorization: Bearer.").
				with("WWW-Authenticate", `Bearer realm="api"`)
		}
		// The cookie has been read. It is nobody's business from here on, and to
		// the cache it would be one of the app's own.
		rt.gen.sessions.CutCookie(r.Header)
		return next(c)
	}
}

// requestSession looks for the request's session, if the route wants to know.
func (rt *route) requestSession(r *http.Request) *session.RequestSession {
	if rt.noSession != nil {
		return rt.noSession
	}
	return rt.gen.sessions.ForRequest(r, rt.session)
}

// ask finds the session and asks the limits, in one round trip where that can
// be: limits by user or session go by whom this instance remembers the cookie
// to speak for. A wrong guess is refunded, and asked again.
func (rt *route) ask(ctx context.Context, rs *session.RequestSession, who *ratelimit.Request) *ratelimit.Result {
	var batch *store.Batch
	if redis := rt.server.parts.redis; redis != nil && rs.HasToken() {
		batch = redis.NewBatch()
		rs.AddTo(batch)
	}
	if rt.limiter == nil {
		_ = rs.Load(ctx) // Authorize knows what an error means on this route
		return nil
	}

	guessed, sure := rs.Remembered()
	if rt.byIdentity && rs.HasToken() && !sure {
		_ = rs.Load(ctx)
		identify(who, rs)
		return rt.limiter.Check(ctx, who, nil)
	}

	who.User, who.Session = guessed.User, guessed.Ref
	outcome := rt.limiter.Check(ctx, who, batch)
	if !outcome.Allowed() && batch != nil && batch.Pending() {
		return outcome // remembered as denied: the session does not matter
	}
	_ = rs.Load(ctx)
	if !rt.byIdentity {
		return outcome
	}
	identify(who, rs)
	if who.User == guessed.User && who.Session == guessed.Ref {
		return outcome
	}
	outcome.Refund(ctx)
	return rt.limiter.Check(ctx, who, nil)
}

// identify makes the limits count by a live session alone.
func identify(who *ratelimit.Request, rs *session.RequestSession) {
	who.User, who.Session = "", ""
	if live := rs.Session(); live != nil {
		who.User, who.Session = live.User, live.Ref
	}
}

// deny answers a request that the limits do not admit.
func (x *exchange) deny(c echo.Context, o *ratelimit.Result) error {
	x.limit = o.DeniedBy()
	if o.Unavailable() {
		x.cause = errors.New("rate limits cannot be checked without Redis")
	}
	if listener.IsGRPC(c.Request()) {
		return denyGRPC(c, o)
	}
	x.route.lendCORS(c)
	o.Deny(c.Response(), c.Request())
	return nil
}

// settleLater has limits that count by the answer settled just before the
// answer goes out, so that the client's next request finds it done.
func (x *exchange) settleLater(c echo.Context, o *ratelimit.Result) {
	if !o.NeedsResponse() {
		return
	}
	x.reserved = o
	c.Response().Before(func() { x.settle(c.Response().Status, c.Response().Header()) })
}

// settle settles what is reserved by the answer, whose status is zero where
// there is none. A second call does nothing.
func (x *exchange) settle(status int, h http.Header) {
	if x.reserved == nil {
		return
	}
	if x.loggedIn.Load() { // the app's header is gone from the answer by now
		h = http.Header{session.HeaderLogin: {"?1"}}
	}
	x.reserved.Settle(x, ratelimit.Response{Status: status, Header: h, Own: x.cause != nil})
	x.reserved = nil
}

// refuseSession answers as a session's rule says.
func refuseSession(c echo.Context, v session.Verdict) error {
	v.WriteHeaders(c.Response().Header())
	if v.Status == http.StatusSeeOther {
		exchangeOf(c).cause = errors.New(v.Reason)
		return c.NoContent(http.StatusSeeOther)
	}
	return refuse(v.Status, v.Reason)
}
