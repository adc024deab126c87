package session

import (
	"errors"
	"net/http"

	"github.com/headgate/headgate/internal/httpx"
)

// TakeActions reads what the app server asks for, as ParseActions does, and
// removes from its response what only the gateway may say: reserved headers, and
// on a route with sessions a cookie of our name. It removes them even where it
// returns an error, which is ErrMalformed: the response must then not reach the
// client; see [Refuse].
func (rs *RequestSession) TakeActions(h http.Header) (Actions, error) {
	taken := takeReserved(h)
	if rs.route.Mode != Off {
		httpx.CutSetCookie(h, rs.m.set.Cookie.Name)
	}
	if taken == nil {
		return Actions{}, nil
	}
	return ParseActions(taken, rs.route.Mode)
}

// WriteHeaders writes what the client is told of Commit: the cookie, instead of
// an earlier one of ours, and that no cache may store the response where it is
// about a change of this client's session. A response made for a live session is
// private unless it says public, private or no-store itself: the app server never sees
// the cookie, and can't name it in Vary. To have the last word WriteHeaders is called
// after everything else that sets headers. A second call writes the same again.
func (rs *RequestSession) WriteHeaders(h http.Header) {
	switch {
	case rs.cookie != nil:
		rs.m.SetCookie(h, rs.cookie)
	case rs.private:
		httpx.KeepPrivate(h)
	case rs.session != nil && (rs.route.Mode == Required || rs.shown.Load()):
		httpx.MarkPrivate(h)
	}
}

// SetCookie adds a cookie that [RequestSession.Commit] returned to a response,
// instead of an earlier cookie of ours, and keeps the response out of every
// cache. A nil cookie changes nothing.
func (m *Manager) SetCookie(h http.Header, cookie *http.Cookie) {
	if cookie == nil {
		return
	}
	httpx.CutSetCookie(h, m.set.Cookie.Name)
	h.Add("Set-Cookie", cookie.String())
	httpx.KeepPrivate(h)
}

// Status is the HTTP status for an error of TakeActions or Commit: 502 where the
// app server asked for something that can't be, 409 where the session has ended since
// the request came or others change it all the time, 503 where it could not be saved.
func Status(err error) int {
	switch {
	case errors.Is(err, ErrMalformed), errors.Is(err, ErrTooLarge):
		return http.StatusBadGateway
	case errors.Is(err, ErrEnded), errors.Is(err, ErrContended):
		return http.StatusConflict
	}
	return http.StatusServiceUnavailable
}

// Refuse returns what the client is answered instead of the app server's response
// where TakeActions or Commit returned an error.
func Refuse(err error) Verdict {
	reason := "The session could not be saved."
	switch {
	case errors.Is(err, ErrMalformed):
		reason = "The app server sent headers that the gateway cannot follow."
	case errors.Is(err, ErrEnded):
		reason = "The session has ended meanwhile, and nothing was saved in it."
	case errors.Is(err, ErrContended):
		reason = "Other requests change the session at the same time, and nothing was saved in it."
	case errors.Is(err, errNotEnded):
		reason = "The session could not be ended."
	}
	return verdict(Status(err), reason)
}
