package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/gorilla/sessions"
	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/store"
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
// [Current], [LogIn], [Renew], [PutOn] and [LogOut]. On a [Logout] route the session has
// ended when the handler runs.
//
// It panics where the route's mode is none of the known ones.
func (m *Manager) Middleware(route Route) echo.MiddlewareFunc {
	if route.Mode != "" && !slices.Contains(route.Mode.Values(), string(route.Mode)) {
		panic(fmt.Errorf("session: no such mode as %q", route.Mode))
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			rs := m.ForRequest(c.Request(), route)
			if rs.route.Mode == Off {
				return next(c)
			}
			c.SetRequest(c.Request().WithContext(NewContext(store.WithWaits(c.Request().Context()), rs)))
			rs.request = c.Request()
			ctx := c.Request().Context()
			_ = rs.Load(ctx) // Authorize knows what an error means on this route
			if d := rs.Authorize(); !d.Pass() {
				return refuse(c, d)
			}
			if route.Mode == Logout {
				if err := commit(c, Actions{}); err != nil {
					return err
				}
			}
			c.Response().Before(func() {
				_ = rs.CommitDue(ctx) // only a rotation can be due, whose failure fails no response
				rs.WriteHeaders(c.Response().Header())
			})
			return next(c)
		}
	}
}

func refuse(c echo.Context, d Verdict) error {
	d.WriteHeaders(c.Response().Header())
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
// *echo.HTTPError: 409 where the session has ended since the request came.
func Save(c echo.Context, s *sessions.Session) error {
	return failed(c, s.Save(c.Request(), c.Response()))
}

func failed(c echo.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrEnded), errors.Is(err, ErrContended):
		refusal := Refuse(err)
		refusal.WriteHeaders(c.Response().Header())
		return echo.NewHTTPError(refusal.Status, refusal.Reason).SetInternal(err)
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

// Until returns a context that ends with the session, wherever that is ended, and with the
// request; its cause is then [ErrEnded]. It is for handlers that hold a WebSocket or send a stream
// of events: see [RequestSession.Follow]. stop must be called. Where there is no live session,
// the context is that of the request.
func Until(c echo.Context) (ctx context.Context, stop context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(c.Request().Context())
	ended := func() {}
	if rs, ok := FromContext(ctx); ok {
		ended = rs.Follow(&untilEnded{cancel})
	}
	return ctx, func() { ended(); cancel(context.Canceled) }
}

// untilEnded is the Stream of a handler that goes by its context.
type untilEnded struct{ cancel context.CancelCauseFunc }

func (*untilEnded) Used() bool { return false }

func (u *untilEnded) End() { u.cancel(ErrEnded) }

// LogIn begins a session of the user with a new ID, and sets its cookie. What
// an anonymous session held comes along. It must be called before the response
// is written; where it fails, the user is not logged in.
func LogIn(c echo.Context, user string) error { return commit(c, Actions{Login: user}) }

// Renew gives the session a new ID, as a change of privileges demands.
func Renew(c echo.Context) error { return commit(c, Actions{Renew: true}) }

// LogOut ends this session, or all of its user's, and deletes the cookie.
func LogOut(c echo.Context, scope LogoutScope) error { return commit(c, Actions{Logout: scope}) }

// PutOn puts the session of a user on a plan, by which limits may have other numbers for it. Without a
// user it does nothing.
func PutOn(c echo.Context, plan string) error {
	var a Actions
	if _, err := parsePlan(plan, &a); err != nil {
		return failed(c, err)
	}
	return commit(c, a)
}

// commit sets the cookie at once, for a handler that returns without writing a
// response; the headers that it sets later are put right before these go out.
func commit(c echo.Context, a Actions) error {
	rs, ok := FromContext(c.Request().Context())
	if !ok {
		return errNoMiddleware
	}
	if _, err := rs.Commit(c.Request().Context(), a); err != nil {
		return failed(c, err)
	}
	rs.WriteHeaders(c.Response().Header())
	return nil
}
