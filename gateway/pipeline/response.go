package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/jobs"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
)

// The way back. What happens to an answer, in this order:
//
//	the app server's answer   takeResponse: ask the limits by account, save the session, clean the headers; its
//	                          error refuses the answer
//	the cache                 stores the clean answer (see caching.go)
//	just before the header    settle what the limits reserved, by the status that the client is given
//	                          purge what a successful unsafe request has made invalid
//	the body                  compressed on its way out (see compress.go)
//	the end                   give back the places under limits of requests in flight
//	                          the Record, for access log and metrics
//
// The session is saved first, as a failure makes another answer: a 503, by which the
// limits settle.

// takeResponse takes from the app server's response what is meant for the gateway,
// does it, and makes the rest fit for the client. Its error refuses the response.
func (rt *Route) takeResponse(res *http.Response) error {
	r := requestFrom(res.Request.Context())
	r.upstream.Store(res.Request.URL)
	cost, costed, malformed := costOf(res.Header)
	actions, err := r.Session.TakeActions(res.Header)
	if err == nil {
		err = malformed
	}
	if denied := rt.limitAttempt(r, res.StatusCode, actions, err); denied != nil {
		return denied // before the session is touched: a login must not take effect
	}
	if err != nil { // nothing is done of it; the forward handler does what is due all the same
		return &proxy.Error{Status: session.Status(err), Kind: proxy.KindRefused, Err: err}
	}
	sessions := rt.session.Mode != session.Off
	if sessions {
		user := r.Session.Session()
		if _, err := r.Session.Commit(r, actions); err != nil {
			return &proxy.Error{Status: session.Status(err), Kind: proxy.KindRefused, Err: err}
		}
		if actions.Logout == session.LogoutEverywhere {
			r.cancelJobsOf(user)
		}
		if actions.Login != "" {
			r.loggedIn.Store(true)
			r.warnOfPlainLogin()
		}
		rt.noteUnknownPlan(r, actions.Plan)
	}
	if costed {
		r.correctCost(cost)
	}
	if rt.cors != nil {
		removeCORS(res.Header)
	} else if origins := res.Request.Header["Origin"]; len(origins) > 0 {
		rt.pipeline.parts.CORS.learn(rt.Name, origins[0], res.Header)
	}
	if rules := rt.responseHeaders; rules != nil {
		rules.apply(res.Header, r)
	}
	res.Header.Del(headerRequestID) // the request has the gateway's
	if sessions {
		r.Session.WriteHeaders(res.Header) // last, whatever app and policy say
	}
	rt.rememberDevice(r, res.Header, actions)
	if actions.LoginAttempt != "" {
		httpx.KeepPrivate(res.Header)
	}
	return nil
}

// cancelJobsOf cancels the jobs of a user who has logged out everywhere: at the host that the session was valid at, as the logout ends
// the sessions there. The logout holds even where that fails.
func (r *Request) cancelJobsOf(s *session.Session) {
	queues := r.pipeline.parts.Jobs
	if queues == nil || s == nil || s.User == "" {
		return
	}
	if _, err := queues.CancelOwner(context.WithoutCancel(r), jobs.Owner{User: s.User, Host: s.Host}); err != nil {
		r.pipeline.lines.jobsNotCancelled.Log(r, r.pipeline.parts.Log, slog.LevelWarn, "a user has logged out everywhere, and his jobs may not all be cancelled", "id", r.id, "error", err)
	}
}

// noteUnknownPlan logs that the app has put a session on a plan that no limit has a number for: it counts
// as a user's then. That is no error: an app may sell plans that differ in other things than limits.
func (rt *Route) noteUnknownPlan(r *Request, plan string) {
	if p := rt.pipeline; plan != "" && !p.plans[plan] {
		p.lines.unknownPlan.Log(r, p.parts.Log, slog.LevelWarn, "the app server puts a session on a plan that no limit knows", "plan", plan, "route", rt.Name)
	}
}

// warnOfPlainLogin logs a login that does not last: over plain HTTP browsers drop the session's Secure
// cookie, and the user is not told.
func (r *Request) warnOfPlainLogin() {
	p := r.pipeline
	if r.Scheme == "https" || p.policy.Session.Cookie.Insecure || httpx.IsLoopback(r.Host) {
		return
	}
	p.lines.plainLogin.Log(r, p.parts.Log, slog.LevelWarn, "a user has logged in over plain HTTP, where browsers drop the session's Secure cookie; "+
		"use https, name the proxy that ends TLS in server.trusted_proxies, or write server.public_scheme: https", "host", r.Authority, "id", r.id)
}

// endSession does what is due on a request that no app server has answered: on a logout
// route the session ends whatever the app does. Its cookie goes into h.
func (r *Request) endSession(h http.Header) error {
	if err := r.Session.CommitDue(r); err != nil {
		refusal := session.Refuse(err)
		refusal.WriteHeaders(h)
		return refuse(refusal.Status, refusal.Reason).because(err)
	}
	r.Session.WriteHeaders(h)
	return nil
}

// loggedIn is what success means on a login route: the app server has logged its user
// in, whatever its status says.
func loggedIn(_ int, h http.Header) bool { return h.Get(session.HeaderLogin) != "" }

// settleLater has limits that count by the answer settled just before the answer goes
// out, so that the client's next request finds it done.
func (r *Request) settleLater() {
	if !r.Limits.NeedsResponse() {
		return
	}
	r.reserved = r.Limits
	res := r.echo.Response()
	res.Before(func() { r.settle(res.Status, res.Header()) })
}

// settle settles what is reserved by the answer, whose status is zero where there is
// none. A second call does nothing.
func (r *Request) settle(status int, h http.Header) {
	if r.reserved == nil {
		return
	}
	if r.loggedIn.Load() { // the app's header is gone from the answer by now
		h = http.Header{session.HeaderLogin: {"?1"}}
	}
	if r.status != 0 { // to a gRPC client the gateway's refusals are 200
		status = r.status
	}
	// A login on a route that has none is refused with 502, which says nothing bad of the
	// client; given back, it would tell a right password from the wrong ones, for free. The 429
	// of a limit by account counts as well, whatever the password was: the app has been asked.
	own := r.cause != nil && !errors.Is(r.cause, session.ErrLoginElsewhere)
	if denied := deniedAttemptOf(r.cause); denied != nil {
		own = denied.limits.Unavailable()
	}
	response := ratelimit.Response{Status: status, Header: h, Own: own}
	response.Cost, response.Costed = r.correctedCost()
	r.reserved.Settle(r, response)
	r.reserved = nil
}

// release gives back the places that the request holds under limits of requests in flight: its response is complete, the
// WebSocket closed, the client gone, or a stage has panicked.
func (r *Request) release() {
	if r.Limits == nil || !r.Limits.Holds() {
		return
	}
	limits := r.Limits
	if later := r.pipeline.parts.Release; later != nil {
		later(func() { limits.Release(context.Background()) })
		return
	}
	limits.Release(r)
}
