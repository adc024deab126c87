package ratelimit

import (
	"context"
	"net/http"
	"sync/atomic"

	"github.com/headgate/headgate/middleware/clientip"
	"github.com/headgate/headgate/middleware/store"
	"github.com/labstack/echo/v4"
)

// MiddlewareOptions says how a [Limiter] finds out about the requests of an Echo
// app. The zero value is complete.
type MiddlewareOptions struct {
	// Skip exempts requests, such as the CORS preflights that the server itself
	// answers. Nil exempts none.
	Skip func(*http.Request) bool
	// Route names the route, for key route and nothing else. Nil means the path
	// that Echo matched.
	Route func(echo.Context) string
	// Resolver finds the client's address where no clientip middleware has done
	// so. Nil means the peer's address, with IPv6 clients counted by their /64.
	Resolver *clientip.Resolver
	// Identify says who has proved to send the request. Nil means the Subject that
	// NewContext left in the request's context.
	Identify func(echo.Context) Subject
	// Batch returns the request's Batch, in which the check travels with the
	// commands of other middleware. Nil, or a nil Batch, means a round trip of its
	// own.
	Batch func(*http.Request) *store.Batch
	// CORS adds to the header of a denial the fields that let the page that sent the
	// request read it, as the app's own responses would have. Nil adds none.
	CORS func(h http.Header, r *http.Request)
}

// Middleware limits the requests of an Echo app, or of a group or route of it:
//
//	e.Use(ratelimit.Middleware(ratelimit.Options{
//		Limits: []ratelimit.Limit{{Name: "per-ip", Requests: 100, Window: time.Minute}},
//	}))
//
// It panics where [New] returns an error, and of a limit by account, which a handler asks by
// [Limiter.CheckAttempt]. [Limiter.Middleware] takes the options of the middleware.
func Middleware(o Options) echo.MiddlewareFunc {
	l, err := New(o)
	if err != nil {
		panic(err)
	}
	if l.byAccount > 0 {
		panic("ratelimit.Middleware: nothing asks a limit by account; make the Limiter with New, and call its CheckAttempt in the login's handler")
	}
	return l.Middleware(MiddlewareOptions{})
}

// Middleware checks each request, denies those that are over a limit, and
// settles the others by their response. Those under a limit of requests in flight hold their
// place until the next handler returns. Limits by account are left to CheckAttempt.
func (l *Limiter) Middleware(o MiddlewareOptions) echo.MiddlewareFunc {
	o = o.withDefaults()
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if o.Skip(c.Request()) {
				return next(c)
			}
			req := o.request(c, l)
			res := l.Check(c.Request().Context(), &req, o.Batch(c.Request()))
			if !res.Allowed() {
				return o.deny(c, res)
			}
			// Written last: fields of these names that the app sets stay, and it does
			// not see ours.
			c.Response().Before(func() { res.WriteHeaders(c.Response().Header()) })
			if res.Holds() {
				defer res.Release(c.Request().Context())
			}
			if !res.NeedsResponse() {
				return next(c)
			}
			return settleAfter(c, res, next)
		}
	}
}

// DenyStage is the part of Middleware that costs least: it denies the requests
// that the deny cache knows to be over a limit, and may stand before the session is
// loaded, in front of Middleware. It makes no round trip and so needs no Batch.
func (l *Limiter) DenyStage(o MiddlewareOptions) echo.MiddlewareFunc {
	o = o.withDefaults()
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if o.Skip(c.Request()) {
				return next(c)
			}
			req := o.request(c, l)
			if res := l.Denied(&req); res != nil {
				return o.deny(c, res)
			}
			return next(c)
		}
	}
}

// withDefaults fills in what nil stands for, Identify apart: the Subject of the
// context is read by RequestOf in any case.
func (o MiddlewareOptions) withDefaults() MiddlewareOptions {
	if o.Skip == nil {
		o.Skip = func(*http.Request) bool { return false }
	}
	if o.Route == nil {
		o.Route = echo.Context.Path
	}
	if o.Resolver == nil {
		resolver, err := clientip.New(clientip.Options{})
		if err != nil {
			panic(err) // impossible: clientip's defaults are valid
		}
		o.Resolver = resolver
	}
	if o.Batch == nil {
		o.Batch = func(*http.Request) *store.Batch { return nil }
	}
	return o
}

func (o *MiddlewareOptions) request(c echo.Context, l *Limiter) Request {
	req := RequestOf(c.Request(), o.Route(c), o.Resolver)
	if l.byParam {
		req.Params = echoParams{c}
	}
	if o.Identify != nil {
		req.Subject = o.Identify(c)
	}
	return req
}

func (o *MiddlewareOptions) deny(c echo.Context, res *Result) error {
	if o.CORS != nil {
		o.CORS(c.Response().Header(), c.Request())
	}
	res.Deny(c.Response(), c.Request())
	return nil
}

// settleAfter calls next, and settles just before the response goes out, however
// long its body is. Where next responds to nothing, by a panic or because the
// client has disconnected, it settles without a response. An error of next is not a
// response yet: what the app's HTTPErrorHandler, or a middleware before this one, makes
// of it is, and may be any status.
func settleAfter(c echo.Context, res *Result, next echo.HandlerFunc) (err error) {
	own := new(atomic.Bool)
	ctx := context.WithValue(c.Request().Context(), ownResponseKey{}, own)
	c.SetRequest(c.Request().WithContext(ctx))
	settle := func(status int) {
		res.Settle(ctx, Response{Status: status, Header: c.Response().Header(), Own: own.Load()})
	}
	c.Response().Before(func() { settle(c.Response().Status) })
	status, responded := 0, true
	defer func() {
		if responded {
			settle(status) // does nothing after a response
		}
	}()
	err = next(c)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		responded = false
	default:
		status = http.StatusOK // as net/http responds for a handler that wrote nothing
	}
	return err
}

type ownResponseKey struct{}

// MarkOwnResponse notes that the server responds in the app's place (an app
// server that is down, a login that cannot be saved): limits that count by the
// response do not count it if it is a 5xx or a 429. ctx is the request's; with any other
// it does nothing.
func MarkOwnResponse(ctx context.Context) {
	if own, ok := ctx.Value(ownResponseKey{}).(*atomic.Bool); ok {
		own.Store(true)
	}
}
