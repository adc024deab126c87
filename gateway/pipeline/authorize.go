package pipeline

import (
	"errors"
	"net/http"

	"github.com/headgate/headgate/policies"
)

// authorize applies what the route asks of session and API key. Limits have decided
// before, and count what is refused here.
func authorize(r *Request) *Answer { return r.backends.Authorize(r) }

// authorizeSession is Authorize of the backends that know the request's session.
func (r *Request) authorizeSession() *Answer {
	if verdict := r.Session.Authorize(); !verdict.Pass() {
		r.sessionNeeded = verdict.NeedsSession()
		if verdict.Status == http.StatusSeeOther {
			return &Answer{Status: verdict.Status, Detail: verdict.Reason, Header: verdict.Header, Cause: errors.New(verdict.Reason), form: asBare}
		}
		a := refuse(verdict.Status, verdict.Reason)
		a.Header = verdict.Header
		return a
	}
	if r.Route.Policy.Client == policies.ClientRequired && r.Client == nil {
		return refuse(http.StatusUnauthorized, "An API key is needed: X-API-Key, or Authorization: Bearer.").
			with("WWW-Authenticate", `Bearer realm="api"`)
	}
	return nil
}

func (b liveBackends) Authorize(r *Request) *Answer {
	if a := r.authorizeSession(); a != nil {
		return a
	}
	// The cookie has been read. Neither the app server nor the cache gets it: to the
	// cache it would be one of the app's own.
	if _, ok := r.Header["Cookie"]; ok {
		b.parts.Sessions.CutCookie(r.Header)
	}
	return nil
}
