package cache

import (
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/cache/internal/collapse"
	"github.com/headgate/headgate/middleware/cache/internal/fleet"
	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// fetch is one request to the origin, its handler's writes, and what they come
// to. Its methods run in the goroutine of the flight.
type fetch struct {
	c             *Cache
	f             *flight
	j             *job
	base          *entry   // selected and stale: to validate, or to stand in
	stored        []*entry // everything under the key
	otherVariants bool     // some of it is valid, if not for this request
	lease         *fleet.Lease

	sends     sending
	body      bodyUse
	requested time.Time
	stream    *collapse.Stream // the body of the response; nil: none is passed on
	entry     *entry           // what the response becomes when it is complete; nil: it is not stored
	written   int64            // bytes of the body
	held      held
}

// sending is what the origin is asked.
type sending uint8

const (
	// sendWhole: a GET, or the client's QUERY, without preconditions.
	sendWhole sending = iota
	// sendValidation: a GET or QUERY with the validators of the stored entry.
	sendValidation
	// sendAsSent: a GET or QUERY with the client's own preconditions and Range.
	sendAsSent
	// sendHead: the client's HEAD, with its preconditions.
	sendHead
)

// bodyUse is what becomes of the body that the origin sends.
type bodyUse uint8

const (
	// passBody: it goes to the clients.
	passBody bodyUse = iota
	// discardBody: the clients are served from the stored entry.
	discardBody
	// discardAndRetry: the 304 was about another response; the origin is asked
	// again, without validators.
	discardAndRetry
)

// do asks the origin, and concludes the flight with what comes of it.
func (t *fetch) do() {
	defer t.release()
	t.j.storing.stamp = t.c.purges.Now() // from before the fetch begins
	if t.base != nil && t.c.validity(t.base) == fleet.Void {
		t.base = nil // purged while this fetch waited for its turn
	}
	t.sends = t.chooseSending()
	if t.f.Shared() || t.base != nil {
		t.f.Watch(t.j.rule.LockTimeout, t.overdue)
	}
	w, err := t.ask()
	if t.body == discardAndRetry {
		t.body, t.sends = passBody, sendWhole
		t.f.Progress()
		w, err = t.ask()
	}
	t.conclude(w, err)
}

func (t *fetch) chooseSending() sending {
	asSent := t.j.mode == forwardAsSent
	switch {
	case t.j.head && asSent:
		return sendHead
	case t.base != nil && t.base.CanValidate():
		return sendValidation
	case t.base == nil && asSent:
		return sendAsSent
	}
	return sendWhole
}

// ask runs the next handler, and turns a panic into an error.
func (t *fetch) ask() (w *capture, err error) {
	w = newCapture(t)
	defer func() {
		switch p := recover(); {
		case p == nil:
		case p == http.ErrAbortHandler:
			err = collapse.ErrAborted
		default:
			t.c.lines.panicked.Log(t.f.Context(), t.c.log, slog.LevelError, "cache: the handler panicked in a fetch", "panic", p, "path", t.j.req.URL.Path, "stack", string(debug.Stack()))
			err = &panicError{p}
		}
	}()
	t.requested = t.c.now()
	return w, t.j.origin(t.newContext(w))
}

// newContext makes the request and the echo.Context that the next handler sees.
func (t *fetch) newContext(w http.ResponseWriter) echo.Context {
	req := t.j.req.Clone(t.f.Context())
	switch {
	case t.j.content != nil:
		t.j.content.setOn(req)
	case t.sends != sendHead:
		req.Method = http.MethodGet
	}
	switch t.sends {
	case sendValidation:
		rfc9111.MakeConditional(req.Header, &t.base.Response)
	case sendWhole:
		rfc9111.DropPreconditions(req.Header)
	}
	c := t.j.echo.NewContext(req, w)
	c.SetPath(t.j.path)
	c.SetParamNames(t.j.names...)
	c.SetParamValues(t.j.values...)
	return c
}

// resolve sets the flight's outcome, and adds the leader's place in the body.
func (t *fetch) resolve(o outcome) {
	if o.stream != nil {
		o.leader = o.stream.Join()
	}
	if t.f.Resolve(o, o.stream, o.leader) && o.kind.forFollowers() {
		t.c.flights.Settle(t.f, o.stream != nil)
	}
}

// onHead decides what a response is for, as soon as its head is there.
func (t *fetch) onHead(status int, h http.Header) {
	t.f.Progress()
	a := &rfc9111.Arrival{Status: status, Header: h, Requested: t.requested, Received: t.c.now()}
	switch {
	case t.sends == sendValidation && status == http.StatusNotModified:
		t.onNotModified(a)
	case rfc9111.ServerFailed(status) && t.base != nil && t.base.CoversError(a.Received):
		t.body = discardBody
		t.resolve(outcome{kind: staleOnError, entry: t.base, status: outcomeStatus{fwd: fwdStale, fwdStatus: status}})
		t.f.Cancel() // no client reads the rest
	case t.sends == sendHead:
		t.onHeadResponse(a)
	default:
		t.onResponse(a)
	}
}

// onResponse starts a response's way to its clients and, if it may be stored,
// into the cache.
func (t *fetch) onResponse(a *rfc9111.Arrival) {
	limit := t.j.rule.MaxBody
	e, why := t.j.storing.newEntry(a)
	length := rfc9111.DeclaredLength(a.Header)
	if e != nil && length > limit {
		e, why = nil, reasonTooLarge
	}
	if a.Status == http.StatusNoContent || a.Status == http.StatusNotModified {
		length = 0
	}
	t.entry = e
	t.stream = collapse.NewStream(t.c.filling, limit, length, e != nil)
	if t.sends == sendAsSent && worthFetchingWhole(a, limit) {
		t.c.asSent.Add(t.f.Key(), asSentTTL)
	}
	if e == nil && a.Status < 500 && t.base != nil && why != rfc9111.ReasonRequestNoStore {
		t.c.forget(t.j, t.base) // RFC 9111 section 4: it has been superseded
	}
	o := outcome{
		kind: responseShared, entry: e, stream: t.stream, arrival: a, why: why,
		status: outcomeStatus{fwd: t.forward(), stored: e != nil, detail: string(why)},
	}
	if e != nil && t.counted() && t.c.shares.usedUp(t.j.client, length) {
		// It is shared with those that wait all the same, and stored for them.
		o.status.stored, o.status.detail, o.why = false, string(reasonClientShare), reasonClientShare
	}
	if e == nil {
		o.kind = responseForLeader
		t.stopSharing()
		if t.j.unstoredDetail != "" {
			o.status.detail = t.j.unstoredDetail
		}
	}
	if t.sends == sendAsSent {
		o.kind = responseAsSent
	}
	if o.kind == responseShared && length != 0 && t.base != nil && t.base.CoversError(a.Received) {
		t.hold(o)
		return
	}
	t.resolve(o)
}

// worthFetchingWhole reports whether the next request like this one, which got
// something else than the whole, should have the whole fetched.
func worthFetchingWhole(a *rfc9111.Arrival, limit int64) bool {
	switch a.Status {
	case http.StatusNotModified:
		return true
	case http.StatusPartialContent:
		size, ok := rfc9111.CompleteLength(a.Header.Get("Content-Range"))
		return ok && size <= limit
	}
	return false
}

// stopSharing lets all requests that wait for this flight go to the origin by
// themselves: its response is not stored.
func (t *fetch) stopSharing() {
	t.releaseFollowers()
	if t.j.mode == fetchWhole { // its full response was not stored: the next such requests are forwarded as the client sent them
		t.c.unstorable.Add(t.f.Key(), asSentTTL)
	}
}

func (t *fetch) releaseFollowers() {
	t.c.flights.Remove(t.f)
	if t.f.HadFollowers() {
		t.c.hitForMiss.Add(t.f.Key(), hitForMissTTL)
	}
	t.lease.Open()
}

// forward is RFC 9211's reason for this fetch.
func (t *fetch) forward() string {
	switch {
	case t.base != nil && t.j.mustValidate && t.base.FreshFor(t.requested) > 0:
		return fwdRequest
	case t.base != nil:
		return fwdStale
	case len(t.j.req.Header["Range"]) > 0 && t.j.mode == forwardAsSent:
		return fwdPartial
	case t.otherVariants:
		return fwdVaryMiss
	}
	return fwdURIMiss
}

func (t *fetch) onBody(p []byte) (int, error) {
	if t.body != passBody || t.stream == nil {
		return len(p), nil
	}
	t.written += int64(len(p))
	if t.stream.Length() >= 0 && t.written > t.stream.Length() {
		return 0, http.ErrContentLength
	}
	t.f.Progress()
	t.lease.BodyArriving(bodyPatience * t.j.rule.LockTimeout)
	if t.written > min(holdBytes, t.j.rule.MaxBody) {
		t.letGo()
	}
	if err := t.stream.Write(t.f.Context(), p); err != nil {
		return 0, err
	}
	if t.written == t.stream.Length() || !t.stream.Kept() {
		t.letGo()
	}
	if t.entry != nil && !t.stream.Kept() {
		t.entry = nil // it outgrew what is kept: there is nothing to wait for
		t.stopSharing()
	}
	return len(p), nil
}

func (t *fetch) onFlush() {
	if t.stream != nil {
		t.letGo() // the origin wants what there is to be read now
		t.stream.Flush()
	}
}

// conclude ends the fetch when the handler has returned.
func (t *fetch) conclude(w *capture, err error) {
	if err == nil && !w.committed {
		w.WriteHeader(http.StatusOK)
	}
	t.f.StopWatch()
	if !w.committed {
		t.fail(err)
		return
	}
	if t.body != passBody || t.stream == nil {
		return
	}
	if err == nil && t.stream.Length() >= 0 && t.sends != sendHead && t.written > t.stream.Length() {
		err = http.ErrContentLength
	}
	if err != nil || t.written < t.stream.Length() {
		t.cutShort()
	}
	t.letGo()
	if err != nil {
		// The response has begun: all that is left is to break it off. Requests
		// that come from here on must not join it.
		t.c.flights.Remove(t.f)
		t.stream.Finish(errors.Join(collapse.ErrAborted, err), nil)
		return
	}
	// A client that has had the end of this response finds it stored.
	var kept []*entry
	if t.entry != nil {
		if chunks, size, ok := t.stream.Complete(); ok {
			full := t.entry.withBody(body{chunks, size})
			full.bodyID = fleet.NewToken()
			full.owned.by(t.owner())
			if !t.overtaken(full) && t.mayAdd(full) {
				kept = t.c.keep(t.j, full)
				t.supersede(full)
				t.c.flights.Settle(t.f, false)
			}
		}
	}
	t.c.flights.Remove(t.f) // requests must not join what has ended, while Redis is told
	t.stream.Finish(nil, w.trailer())
	for _, e := range kept {
		t.share(e)
	}
}

// release ends what a fetch that was given up has begun.
func (t *fetch) release() {
	if t.stream != nil {
		t.stream.Finish(collapse.ErrAborted, nil) // no effect if it has ended
	}
	t.lease.Release()
}
