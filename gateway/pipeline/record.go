package pipeline

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/headgate/headgate/gateway/observe"
	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/labstack/echo/v4"
)

// finish does what remains when the response is complete, or a stage has panicked: it
// settles what no answer has, gives back the request's places, and makes the record.
func (r *Request) finish() {
	panicked := recover()
	res := r.echo.Response()
	if panicked != nil && panicked != http.ErrAbortHandler {
		r.pipeline.lines.panicked.Log(r, r.pipeline.parts.Log, slog.LevelError, "a request panicked", "id", r.id, "panic", panicked, "stack", string(debug.Stack()))
		r.cause = errors.New("panic")
		if !res.Committed {
			refuse(http.StatusInternalServerError, "").write(r)
			panicked = nil
		}
	}
	if r.cause == nil {
		r.cause = r.cutOff(panicked == http.ErrAbortHandler)
	}
	r.endCompression(panicked != nil)
	if r.reserved == nil && r.cost.Load() != 0 {
		r.reserved = r.Limits // a fetch of the cache has brought it: what was settled stays so
	}
	if r.reserved != nil { // no answer has settled it
		r.settle(0, nil)
	}
	r.release()
	r.observe(res)
	r.releaseCompression()
	if panicked != nil {
		panic(http.ErrAbortHandler) // the listener closes the connection: the client sees that the answer is not whole
	}
}

// cutOff says why a response is not whole, and who ended it; nil where it is whole. How much
// of it was sent, and when, the log says in fields of their own.
func (r *Request) cutOff(aborted bool) error {
	broken := r.broken.Load()
	switch {
	case r.outlived.Load():
		return errors.New("the session of an open response has ended")
	case !aborted:
		return nil
	case r.http.Context().Err() != nil || broken != nil && broken.Kind == proxy.KindClientGone:
		return errors.New("the client left before the response was complete")
	case broken == nil:
		return errors.New("the response broke off")
	case broken.Kind == proxy.KindTimeout:
		return fmt.Errorf("the app server stopped sending within its response: %w", broken)
	}
	return fmt.Errorf("the app server broke off its response: %w", broken)
}

// observe hands what is known of the request to metrics, access log and observer.
func (r *Request) observe(res *echo.Response) {
	parts := &r.pipeline.parts
	record := observe.Record{Method: r.Method, Status: res.Status, Duration: parts.Now().Sub(r.start)}
	if r.status != 0 {
		record.Status = r.status
	}
	if r.Route != nil {
		record.Route = r.Route.Name
	}
	told := parts.AccessLog != nil || parts.Observe != nil
	if told {
		r.describe(&record, res)
		parts.LogFormat.Collect(&record, r.http.Header)
	}
	if m := parts.Metrics; m != nil {
		m.InFlight.Dec()
		switch {
		case !r.Denied.IsValid():
		case r.blocked:
			m.BlockedNetwork.Inc()
		default:
			m.DeniedNetwork.Inc()
		}
		m.Request(record.Route, record.Method, record.Status, record.Duration)
		if w := r.compressed; w != nil {
			m.Compressed(w.Used())
		}
	}
	if parts.AccessLog != nil {
		parts.AccessLog.Line(func(b []byte) []byte { return parts.LogFormat.Append(b, &record) })
	}
	if parts.Observe != nil {
		parts.Observe(&record)
	}
}

// describe fills in what access log and observer are told besides what metrics count.
func (r *Request) describe(to *observe.Record, res *echo.Response) {
	req := r.http
	to.Time, to.ID = r.start, r.id
	to.Host, to.URI, to.Proto = req.Host, r.Target, req.Proto
	to.Bytes, to.Login = res.Size, r.loggedIn.Load()
	if w := r.compressed; w != nil {
		if coding, before, sent := w.Used(); coding != httpx.Identity {
			to.Encoding, to.Bytes, to.BytesBefore = coding.String(), sent, before
		}
	}
	to.UserAgent, to.Referer = req.UserAgent(), req.Referer()
	to.Cache = observe.CacheOutcome(res.Header())
	if r.Info.Addr.IsValid() {
		to.ClientIP = r.Info.Addr.String()
	}
	to.Denied = r.Denied
	if r.Client != nil {
		to.Client = r.Client.Name
	}
	if s := r.upstream.Load(); s != nil {
		to.Upstream = s.Scheme + "://" + s.Host
	}
	if r.cause != nil {
		to.Error = r.cause.Error()
	}
	to.Job, to.Queue = r.job, r.queue
	to.User, to.Session, to.Plan, to.SessionNeeded = r.user, r.ref, r.plan, r.sessionNeeded
	if r.Limits == nil {
		return
	}
	if to.Waited = r.Limits.Waited(); r.Limits.Allowed() {
		to.DryRun = r.Limits.DryRunDeniedBy()
	} else {
		to.Limit = r.Limits.DeniedBy()
	}
	if denied := deniedAttemptOf(r.cause); denied != nil {
		to.Limit = denied.limits.DeniedBy()
	} else if name := r.attemptDryRun.Load(); name != nil {
		to.DryRun = *name
	}
}
