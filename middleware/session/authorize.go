package session

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// Verdict is what a route's rule says of a request.
type Verdict struct {
	// Status is zero where the request may pass, else 303, 401, 403 or 503.
	Status int
	// Header goes with the answer: Location, Retry-After, Cache-Control. Nil
	// where it may pass.
	Header http.Header
	// Reason is for people: a log line, a problem document's detail.
	Reason string
}

// WriteHeaders sets the verdict's headers on the response that refuses.
func (d Verdict) WriteHeaders(h http.Header) {
	for name, values := range d.Header {
		h[name] = values
	}
}

// NeedsSession reports whether the request is refused because it has no session
// with a user: 401, or 303 to the login page.
func (d Verdict) NeedsSession() bool {
	return d.Status == http.StatusUnauthorized || d.Status == http.StatusSeeOther
}

// Pass reports whether the request may go on.
func (d Verdict) Pass() bool { return d.Status == 0 }

// retryAfter is what 503 suggests, in seconds: the breaker asks Redis anew
// about as often.
const retryAfter = "1"

// Authorize applies the route's rule to what Load has found. It does no I/O.
func (rs *RequestSession) Authorize() Verdict {
	r, mode := rs.request, rs.route.Mode
	if mode == Off || httpx.PreflightFor(r.Method, r.Header) != "" {
		return Verdict{}
	}
	if mode == Logout && httpx.IsPrefetch(r.Header) {
		return verdict(http.StatusForbidden, "a prefetch does not end a session")
	}
	if rs.refusesOrigin() {
		return verdict(http.StatusForbidden, "cross-origin request refused")
	}
	if rs.err != nil && mustKnow(mode, r.Method) {
		return verdict(http.StatusServiceUnavailable, "the session can't be looked up at the moment")
	}
	if mode == Required && (rs.session == nil || rs.session.User == "") {
		return rs.challenge()
	}
	return Verdict{}
}

// refusesOrigin applies the CSRF check to requests that act for a session and
// to those that may begin one: a foreign page must not log its victim in as
// another user. On a logout route a foreign page's link is refused as well.
func (rs *RequestSession) refusesOrigin() bool {
	switch {
	case rs.route.NoCSRF:
		return false
	case rs.route.Mode == Logout:
		return rs.m.origins.refusesLogout(rs.request)
	case rs.session == nil && rs.route.Mode != Login:
		return false
	}
	return rs.m.origins.refuses(rs.request)
}

// mustKnow reports whether a request is better refused than taken for
// anonymous: where a session is required, and where one is about to be begun or
// ended, which could not be saved.
func mustKnow(mode Mode, method string) bool {
	switch mode {
	case Required, Logout:
		return true
	case Login:
		return !httpx.IsSafe(method)
	}
	return false
}

// challenge sends browsers to the login page and tells others that they need a
// session.
func (rs *RequestSession) challenge() Verdict {
	r, login := rs.request, rs.m.set.LoginPath
	loginPath, _, _ := strings.Cut(login, "?")
	// Where the login page itself requires a session, a redirect would never end.
	if login == "" || !httpx.IsBrowser(r.Header) || r.URL.Path == loginPath {
		d := verdict(http.StatusUnauthorized, "a session is required")
		d.Header.Set("WWW-Authenticate", `Cookie cookie-name="`+rs.m.set.Cookie.Name+`"`)
		return d
	}
	d := verdict(http.StatusSeeOther, "a session is required")
	// A form's body is lost on the way there and back: there is nothing to come back to.
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		login = withReturn(login, r.URL)
	}
	d.Header.Set("Location", login)
	return d
}

func verdict(status int, reason string) Verdict {
	d := Verdict{Status: status, Reason: reason, Header: http.Header{"Cache-Control": {"no-store"}}}
	if status == http.StatusServiceUnavailable {
		d.Header.Set("Retry-After", retryAfter)
	}
	return d
}

// maxReturn bounds the return path, in bytes: a URL above some kilobytes is
// refused along the way.
const maxReturn = 2000

// withReturn adds ?next= with the request's own path and query, if that is a
// safe place to return to.
func withReturn(login string, u *url.URL) string {
	next := u.EscapedPath()
	if u.RawQuery != "" {
		next += "?" + u.RawQuery
	}
	if len(next) > maxReturn || !SafePath(next) {
		return login
	}
	separator := "?"
	if strings.Contains(login, "?") {
		separator = "&"
	}
	return login + separator + "next=" + url.QueryEscape(next)
}

// SafePath reports whether s is a path of this site that a browser may be sent
// to, as apps should ask of the "next" that they are given: it begins with one
// slash, and nothing in it makes a browser see another host. Browsers read "\"
// as "/", and leave out tabs and newlines before they look.
func SafePath(s string) bool {
	if !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == '\\' || c >= 0x7f {
			return false
		}
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil {
		return false
	}
	// "/.//evil.example" becomes "//evil.example" once dot segments are gone.
	path, _, _ := strings.Cut(s, "?")
	return !strings.Contains(path, "//") && !strings.Contains(path, "/./") && !strings.Contains(path, "/../")
}
