package server

import (
	"context"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/middleware/clientip"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/policies"
	"github.com/labstack/echo/v4"
)

// exchange is what the gateway knows about one request and its answer. It is
// the request's context, so that whoever has the request has it too: also a
// cache fill, which goes on without its Echo context when the client has left.
//
// Its fields are written by the request's own goroutine, and read in the end by
// the access log. What a fill may write, when the log has long been written, is atomic.
type exchange struct {
	clientip.Context // who asks

	start time.Time
	id    string
	ids   [1]string // id, as a header's value
	gen   *generation
	host  string           // normalised, without port: what routes are matched by
	route *route           // nil until one fits
	asked policies.Request // what the matcher looked at
	match policies.Match
	api   *apiClient // nil without a known API key

	limit  string // the limit that denied
	dryRun string // the limit that would have
	user   string // of the live session
	ref    string // of that session
	barred bool   // for want of a session
	cause  error  // why the gateway answered itself
	status int    // what that answer means, where its own status is gRPC's eternal 200

	session  *session.RequestSession
	reserved *ratelimit.Result // to be settled by the answer

	loggedIn atomic.Bool             // the app has logged somebody in
	upstream atomic.Pointer[url.URL] // of the server that was asked last
}

// newExchange returns the exchange that becomes a request's context. Over
// HTTP/1 the listener calls it, and begin has no need to copy the request.
func newExchange(ctx context.Context) context.Context {
	return &exchange{Context: clientip.Context{Context: ctx}}
}

type exchangeKey struct{}

// Value makes the exchange findable through contexts that wrap it.
func (x *exchange) Value(key any) any {
	if key == (exchangeKey{}) {
		return x
	}
	return x.Context.Value(key)
}

// exchangeOf returns the exchange of a request that came through the front door.
func exchangeOf(c echo.Context) *exchange {
	return exchangeFrom(c.Request().Context())
}

func exchangeFrom(ctx context.Context) *exchange {
	if x, ok := ctx.(*exchange); ok {
		return x
	}
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// statusOf returns the status that log and metrics show.
func (x *exchange) statusOf(res *echo.Response) int {
	if x.status != 0 {
		return x.status
	}
	return res.Status
}

// entry returns the exchange's line for the access log.
func (x *exchange) entry(c echo.Context, uri string, took time.Duration) accessEntry {
	r, res := c.Request(), c.Response()
	e := accessEntry{
		Time:      x.start,
		ID:        x.id,
		Method:    r.Method,
		Host:      r.Host,
		URI:       uri,
		Proto:     r.Proto,
		Status:    x.statusOf(res),
		Bytes:     res.Size,
		Duration:  took,
		Limit:     x.limit,
		DryRun:    x.dryRun,
		User:      x.user,
		Session:   x.ref,
		Login:     x.loggedIn.Load(),
		UserAgent: r.UserAgent(),
		Referer:   r.Referer(),
	}
	if x.Info.Addr.IsValid() {
		e.ClientIP = x.Info.Addr.String()
	}
	if x.route != nil {
		e.Route = x.route.name
	}
	if x.api != nil {
		e.Client = x.api.name
	}
	if s := x.upstream.Load(); s != nil {
		e.Upstream = s.Scheme + "://" + s.Host
	}
	e.Cache = cacheOutcome(res.Header())
	if x.cause != nil {
		e.Error = x.cause.Error()
	}
	return e
}

// outcome is what Options.Observe is told.
func (x *exchange) outcome(e accessEntry) Outcome {
	return Outcome{
		ClientIP: e.ClientIP, Route: e.Route, Client: e.Client,
		User: e.User, Session: e.Session, Login: e.Login, SessionNeeded: x.barred,
		Limit: e.Limit, DryRun: e.DryRun, Cache: e.Cache, Error: e.Error,
	}
}
