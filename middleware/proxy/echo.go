package proxy

import (
	"errors"
	"strconv"

	"github.com/labstack/echo/v4"
)

// Middleware forwards every request that reaches it; handlers behind it are
// not called. Echo runs it for any method and path, so it suits a whole app or
// a group of it:
//
//	e.Group("/api", proxy.Middleware(proxy.Options{
//		Config: proxy.Config{Servers: []proxy.Server{{URL: "http://127.0.0.1:9001"}}},
//		Logger: slog.Default(),
//	}, proxy.RouteOptions{}))
//
// The upstream lasts as long as the program. It panics where [New] returns an
// error. For several routes to one upstream, or an upstream that is closed,
// make it with New and use its Middleware method, or [Handler.Echo].
func Middleware(o Options, route RouteOptions) echo.MiddlewareFunc {
	u, err := New(o)
	if err != nil {
		panic(err)
	}
	return u.Middleware(route)
}

// Middleware forwards every request that reaches it to the upstream.
func (u *Upstream) Middleware(route RouteOptions) echo.MiddlewareFunc {
	h := u.Handler(route)
	return func(echo.HandlerFunc) echo.HandlerFunc { return h.Echo }
}

// Echo is an echo.HandlerFunc that forwards the request and passes the response
// on. It is what forwards a request that the app has no route for:
//
//	e.RouteNotFound("/*", u.Handler(proxy.RouteOptions{}).Echo)
//
// The error is an *echo.HTTPError whose code is the [Error]'s Status, 499 for a
// client that went away, and which wraps the Error. Nothing has been written
// then but Retry-After. A response that breaks off panics as [Handler.Forward]
// says; Echo's Recover middleware lets that panic pass.
func (h *Handler) Echo(c echo.Context) error {
	err := h.Forward(c.Response(), c.Request())
	var failure *Error
	if !errors.As(err, &failure) {
		return err
	}
	if handle := h.opts.ErrorHandler; handle != nil && failure.Kind != KindClientGone {
		handle(c.Response(), c.Request(), failure)
		return nil
	}
	if seconds := failure.RetryAfter(); seconds > 0 {
		c.Response().Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	return echo.NewHTTPError(failure.Status, failure.Detail()).SetInternal(failure)
}
