package session

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gorilla/sessions"
	"github.com/labstack/echo/v4"
)

// Middleware keeps sessions in an Echo app, under one rule for all that it
// covers. It panics where the options are wrong. For routes with different
// rules make one Manager with [New] and use its Middleware method.
func Middleware(o Options, route Route) echo.MiddlewareFunc {
	m, err := New(o)
	if err != nil {
		panic(err)
	}
	return m.Middleware(route)
}

// Middleware applies a route's rule before the handler, which then has [Get],
// [Current], [LogIn], [Renew] and [LogOut]. On a [Logout] route the session has
// ended when the handler runs.
//
// It panics where the route's mode is none of the known ones.
func (m *Manager) Middleware(route Route) echo.MiddlewareFunc {
	switch route.Mode {
	case "", Off, Optional, Required, Login, Logout:
	default:
		panic(fmt.Errorf("session: no such mode as %q", route.Mode))
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			rs := m.ForRequest(c.Request(), route)
			if rs.route.Mode == Off {
				return next(c)
			}
			c.SetRequest(c.Request().WithContext(NewContext(c.Request().Context(), rs)))
			rs.request = c.Request()
			ctx := c.Request().Context()
			_ = rs.Load(ctx) // Authorize knows what an error means on this route
			if d := rs.Authorize(); !d.Pass() {
				return answer(c, d)
			}
			if route.Mode == Logout {
				if err := apply(c, Actions{}); err != nil {
					return err
				}
				return next(c)
			}
			c.Response().Before(func() {
				// Only a rotation can be due, whose failure is no reason to
				// fail the response.
				if cookie, err := rs.Commit(ctx, Actions{}); err == nil {
					rs.m.SetCookie(c.Response().Header(), cookie)
				}
			})
			return next(c)
		}
	}
}

func answer(c echo.Context, d Verdict) error {
	for name, values := range d.Header {
		c.Response().Header()[name] = values
	}
	if d.Status == http.StatusSeeOther {
		return c.NoContent(d.Status)
	}
	return echo.NewHTTPError(d.Status, d.Reason)
}

var errNoMiddleware = errors.New("session: this route has no session.Middleware, or one with session off")

// Get returns the request's session as gorilla knows it: read and write its
// Values, then [Save]. The error is an *echo.HTTPError that wraps what
// [Manager.Get] says: 503 while the store is away.
func Get(c echo.Context) (*sessions.Session, error) {
	rs, ok := FromContext(c.Request().Context())
	if !ok {
		return nil, errNoMiddleware
	}
	s, err := rs.m.Get(c.Request(), rs.m.CookieName())
	return s, failed(c, err)
}

// Save stores what has changed in a session that [Get] returned, before the
// response is written: gorilla's Save, with its error turned into an
// *echo.HTTPError.
func Save(c echo.Context, s *sessions.Session) error {
	return failed(c, s.Save(c.Request(), c.Response()))
}

func failed(c echo.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrEnded):
		c.Response().Header().Set("Retry-After", retryAfter)
		return echo.NewHTTPError(http.StatusServiceUnavailable, "the session is not available").SetInternal(err)
	}
	return echo.NewHTTPError(http.StatusInternalServerError).SetInternal(err)
}

// Current returns the live session, nil where there is none.
func Current(c echo.Context) *Session {
	if rs, ok := FromContext(c.Request().Context()); ok {
		return rs.session
	}
	return nil
}

// LogIn begins a session of the user with a new ID, and sets its cookie. What
// an anonymous session held comes along. It must be called before the response
// is written; where it fails, nobody is logged in.
func LogIn(c echo.Context, user string) error { return apply(c, Actions{Login: user}) }

// Renew gives the session a new ID, as a change of privileges demands.
func Renew(c echo.Context) error { return apply(c, Actions{Renew: true}) }

// LogOut ends this session, or all of its user's, and deletes the cookie.
func LogOut(c echo.Context, scope LogoutScope) error { return apply(c, Actions{Logout: scope}) }

func apply(c echo.Context, a Actions) error {
	rs, ok := FromContext(c.Request().Context())
	if !ok {
		return errNoMiddleware
	}
	cookie, err := rs.Commit(c.Request().Context(), a)
	if err != nil {
		return failed(c, err)
	}
	rs.m.SetCookie(c.Response().Header(), cookie)
	return nil
}

// SetCookie adds what [RequestSession.Commit] returned to a response, instead of an
// earlier cookie of ours, and keeps the response out of every cache. A nil
// cookie changes nothing.
func (m *Manager) SetCookie(h http.Header, cookie *http.Cookie) {
	if cookie == nil {
		return
	}
	m.cutSetCookie(h)
	h.Add("Set-Cookie", cookie.String())
	h.Set("Cache-Control", "private, no-store")
}

// CleanResponse removes from an app server's response what is ours to say: our
// headers, and a cookie of our name.
func (rs *RequestSession) CleanResponse(h http.Header) {
	StripReserved(h)
	if rs.route.Mode != Off {
		rs.m.cutSetCookie(h)
	}
}

func (m *Manager) cutSetCookie(h http.Header) {
	lines := h["Set-Cookie"]
	kept := lines[:0]
	for _, line := range lines {
		name, _, _ := strings.Cut(line, "=")
		if strings.TrimSpace(name) != m.set.Cookie.Name {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		delete(h, "Set-Cookie")
		return
	}
	h["Set-Cookie"] = kept
}
