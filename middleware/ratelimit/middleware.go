package ratelimit

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/headgate/headgate/middleware/store"
	"github.com/labstack/echo/v4"
)

// Middleware limits the requests of an Echo app, or of a group or route of it:
//
//	e.Use(ratelimit.Middleware(ratelimit.Options{
//		Limits: []ratelimit.Limit{{Name: "per-ip", Requests: 100, Window: time.Minute}},
//	}))
//
// It panics where New returns an error.
func Middleware(o Options) echo.MiddlewareFunc {
	l, err := New(o)
	if err != nil {
		panic(err)
	}
	return l.Middleware()
}

// DenyStage is the early part of Middleware alone: it answers clients that are
// known to be over a limit, and may stand before the session is loaded.
func (l *Limiter) DenyStage() echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if l.options.Skip != nil && l.options.Skip(c.Request()) {
				return next(c)
			}
			req := l.request(c)
			if o := l.Denied(&req); o != nil {
				o.Deny(c.Response(), c.Request())
				return nil
			}
			return next(c)
		}
	}
}

// Middleware checks each request, answers those that are denied, and settles
// the others.
func (l *Limiter) Middleware() echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if l.options.Skip != nil && l.options.Skip(c.Request()) {
				return next(c)
			}
			req := l.request(c)
			o := l.Check(c.Request().Context(), &req, l.batch(c))
			return l.Pass(c, o, next)
		}
	}
}

func (l *Limiter) request(c echo.Context) Request {
	route := c.Path()
	if l.options.Route != nil {
		route = l.options.Route(c)
	}
	req := RequestOf(c.Request(), route, l.options.Resolver)
	if l.options.Identify != nil {
		req.Subject = l.options.Identify(c)
	}
	return req
}

func (l *Limiter) batch(c echo.Context) *store.Batch {
	if l.options.Batch == nil {
		return nil
	}
	return l.options.Batch(c.Request())
}

// Pass carries out an Outcome: it denies, or lets next answer, with the limits'
// fields added, and settles by the answer.
func (l *Limiter) Pass(c echo.Context, o *Outcome, next echo.HandlerFunc) error {
	if !o.allowed {
		o.Deny(c.Response(), c.Request())
		return nil
	}
	// Written last: an app that sets fields of these names keeps its own, and ours
	// are neither overwritten nor taken for the app's.
	if len(o.items) > 0 && l.headers != HeadersOff {
		c.Response().Before(func() { o.WriteHeaders(c.Response().Header()) })
	}
	if !o.NeedsAnswer() {
		return next(c)
	}
	return o.follow(c, next)
}

// follow calls next and settles by its answer, just before that goes out: so
// the client's next request finds it settled, however long the body is. A
// handler that panics before it has answered leaves the request counted.
func (o *Outcome) follow(c echo.Context, next echo.HandlerFunc) (err error) {
	own := new(atomic.Bool)
	ctx := context.WithValue(c.Request().Context(), ownAnswerKey{}, own)
	c.SetRequest(c.Request().WithContext(ctx))
	settle := func(status int) {
		left := ctx.Err() != nil && (own.Load() || status == 0)
		o.Settle(ctx, Answer{Status: status, Header: c.Response().Header(), Own: own.Load(), Left: left})
	}
	c.Response().Before(func() { settle(c.Response().Status) })
	status := 0
	defer func() { settle(status) }() // what was answered is settled already
	if err = next(c); err != nil {
		status = statusOf(err)
		if ctx.Err() != nil {
			status = 0 // nobody is there to be answered
		}
	} else if !c.Response().Committed {
		status = http.StatusOK // as net/http will answer
	}
	return err
}

// statusOf is the status with which Echo answers a handler's error.
func statusOf(err error) int {
	var he *echo.HTTPError
	if errors.As(err, &he) {
		return he.Code
	}
	return http.StatusInternalServerError
}

type ownAnswerKey struct{}

// MarkOwnAnswer notes that the server answers a request in the app's place (an
// upstream that is down, a login that cannot be saved): limits that count by
// the answer do not count it. It may be called with any context.
func MarkOwnAnswer(ctx context.Context) {
	if own, ok := ctx.Value(ownAnswerKey{}).(*atomic.Bool); ok {
		own.Store(true)
	}
}
