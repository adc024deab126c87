package pipeline

import (
	"time"

	"github.com/headgate/headgate/gateway/observe"
)

// record fills in what the gateway knows of a request whose response is complete.
func (r *Request) record(to *observe.Record, took time.Duration) {
	req, res := r.http, r.echo.Response()
	*to = observe.Record{
		Time:      r.start,
		ID:        r.id,
		Method:    r.Method,
		Host:      req.Host,
		URI:       r.Target,
		Proto:     req.Proto,
		Status:    r.statusOf(res),
		Bytes:     res.Size,
		Duration:  took,
		Login:     r.loggedIn.Load(),
		UserAgent: req.UserAgent(),
		Referer:   req.Referer(),
		Cache:     observe.CacheOutcome(res.Header()),
	}
	if r.Info.Addr.IsValid() {
		to.ClientIP = r.Info.Addr.String()
	}
	if r.Route != nil {
		to.Route = r.Route.Name
	}
	if r.Client != nil {
		to.Client = r.Client.Name
	}
	if s := r.upstream.Load(); s != nil {
		to.Upstream = s.Scheme + "://" + s.Host
	}
	if r.cause != nil {
		to.Error = r.cause.Error()
	}
	to.User, to.Session, to.SessionNeeded = r.user, r.ref, r.sessionNeeded
	r.recordLimits(to)
}

func (r *Request) recordLimits(to *observe.Record) {
	switch {
	case r.Limits == nil:
	case r.Limits.Allowed():
		to.DryRun = r.Limits.DryRunDeniedBy()
	default:
		to.Limit = r.Limits.DeniedBy()
	}
}
