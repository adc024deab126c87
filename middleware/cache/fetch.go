package cache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// job is what a fetch needs of the request that caused it. It holds no
// echo.Context, which is pooled and gone when the request is.
type job struct {
	route         *route
	req           *http.Request // a copy of its own
	path          string        // the Echo route and its parameters
	names, values []string

	hash    keyHash
	storing storing
	want    rfc9111.Request

	head    bool // the request is a HEAD
	whole   bool // it asks for something else than the whole, which is fetched all the same
	asIs    bool // with nothing stored: forward HEAD, preconditions and Range as they are
	solo    bool // on behalf of one request: no lease
	renew   bool // what is stored and fresh is not good enough
	refresh bool // in the background: leave it to another instance that is at it
}

// run leads a flight: from what is stored, else from the origin.
func (c *Cache) run(f *flight, j *job) {
	stop := context.AfterFunc(c.alive, f.cancel)
	defer stop()
	defer f.cancel()
	defer f.end()
	defer c.flights.remove(f)
	defer f.resolve(outcome{retry: true}) // whatever happens, nobody waits in vain

	found := c.look(f.ctx, j)
	if found.serves(j) {
		f.resolve(found.outcome())
		return
	}
	if found.verdict == rfc9111.StaleRefresh && found.tier == TierRedis && !j.refresh && !j.renew && c.localUsable() {
		return // it is in the local tier now: served from there while it is refreshed
	}
	var held *lease
	if c.remote != nil && !j.solo && !found.unsure {
		var done bool
		if held, found, done = c.waitTurn(f, j, found); done {
			return
		}
	}
	t := &fetch{c: c, f: f, j: j, base: found.entry, stored: found.variants, others: found.others, lease: held}
	t.do()
}

// found is what a look at both tiers came to.
type found struct {
	variants []*entry // everything stored under the key
	entry    *entry   // the one that the request selects, with its body
	verdict  rfc9111.Verdict
	others   bool
	tier     Tier
	version  int64 // of the index in Redis
	unsure   bool  // Redis did not answer
}

// serves reports whether the job is done with what was found. A stale entry
// that may be served has been; the job is to replace it.
func (r *found) serves(j *job) bool { return r.verdict == rfc9111.Fresh && !j.renew }

func (r *found) outcome() outcome {
	return outcome{entry: r.entry, tier: r.tier, status: outcomeStatus{hit: true}}
}

// look looks for the job's entry in the local tier, then in Redis. A flight
// looks locally too: another one may have ended since its request did.
func (c *Cache) look(ctx context.Context, j *job) found {
	var r found
	if c.remote != nil && !c.remote.leased() {
		r.unsure = c.remote.sync(ctx) != nil
	}
	if c.localUsable() {
		if res := c.local.get(j.hash, []byte(j.storing.keyText)); res != nil {
			r.variants, r.tier = res.variants, TierLocal
			r.entry, r.verdict, r.others = c.choose(res.variants, &j.want, c.now())
		}
	}
	if c.remote == nil || r.unsure || r.serves(j) {
		return r
	}
	return c.lookRemote(ctx, j, r)
}

// fetch is one request to the origin, its handler's writes, and what they come
// to. Its methods run in the goroutine of the flight.
type fetch struct {
	c      *Cache
	f      *flight
	j      *job
	base   *entry   // selected and stale: to validate, or to stand in
	stored []*entry // everything under the key
	others bool     // some of it is valid, if not for this request
	lease  *lease

	head       bool // a HEAD goes to the origin
	validating bool
	requested  time.Time
	again      bool // the 304 was about something else: ask without validators
	dropped    bool // the origin's body is of no use to anybody
	stream     *stream
	entry      *entry // what is being stored; nil: nothing
	written    int64
}

func (t *fetch) do() {
	defer t.release()
	t.j.storing.stamp = t.c.purges.now() // from before the fetch begins
	if t.base != nil && t.c.purges.checkEntry(t.base) == void {
		t.base = nil // purged while this fetch waited for its turn
	}
	t.validating = t.base != nil && t.base.CanValidate() && !(t.j.head && t.j.asIs)
	for {
		t.head = t.j.head && t.j.asIs
		w, err := t.ask()
		if t.again { // and what comes now is of use
			t.again, t.validating, t.dropped = false, false, false
			continue
		}
		t.conclude(w, err)
		return
	}
}

// ask runs the next handler, and turns a panic into an error.
func (t *fetch) ask() (w *capture, err error) {
	w = newCapture(t)
	defer func() {
		switch p := recover(); {
		case p == nil:
		case p == http.ErrAbortHandler:
			err = errAborted
		default:
			t.c.log.Error("cache: the handler panicked in a fetch", "panic", p, "path", t.j.req.URL.Path, "stack", string(debug.Stack()))
			err = &panicked{p}
		}
	}()
	t.requested = t.c.now()
	return w, t.j.route.next(t.newContext(w))
}

// newContext makes the request and the echo.Context that the next handler sees.
func (t *fetch) newContext(w http.ResponseWriter) echo.Context {
	req := t.j.req.Clone(t.f.ctx)
	if !t.head {
		req.Method = http.MethodGet
	}
	switch {
	case t.validating:
		rfc9111.MakeConditional(req.Header, &t.base.Response)
	case t.j.asIs && t.base == nil, t.head:
		// forwarded with its own preconditions
	default:
		rfc9111.DropPreconditions(req.Header)
	}
	c := t.j.route.echo.NewContext(req, w)
	c.SetPath(t.j.path)
	c.SetParamNames(t.j.names...)
	c.SetParamValues(t.j.values...)
	return c
}

type panicked struct{ value any }

func (p *panicked) Error() string { return "cache: the handler panicked" }

func (t *fetch) onInterim(status int, h http.Header) {
	select {
	case t.f.interim <- interim{status, h}:
	case <-t.f.leaderGone:
	case <-t.f.ready:
	case <-t.f.ctx.Done():
	}
}

// onHead decides what a response is for, as soon as its head is there.
func (t *fetch) onHead(status int, h http.Header) {
	a := &rfc9111.Arrival{Status: status, Header: h, Requested: t.requested, Received: t.c.now()}
	switch {
	case t.validating && status == http.StatusNotModified:
		t.onNotModified(a)
	case rfc9111.ServerFailed(status) && t.base != nil && t.base.CoversError(a.Received):
		t.dropped = true
		t.f.resolve(outcome{entry: t.base, status: outcomeStatus{fwd: fwdStale, fwdStatus: status}})
		t.f.cancel() // nobody wants the rest
	case t.head:
		t.onHeadResponse(a)
	default:
		t.onResponse(a)
	}
}

// onNotModified freshens what is stored, RFC 9111 section 4.3.4: the entry that
// was validated, and all others with the same strong validator.
func (t *fetch) onNotModified(a *rfc9111.Arrival) {
	t.dropped = true
	if !t.base.ConfirmedBy(a.Header) {
		t.again = true
		return
	}
	e, why := t.j.storing.updated(t.base, a)
	status := outcomeStatus{fwd: fwdStale, fwdStatus: http.StatusNotModified, detail: string(why), stored: e != nil}
	if e == nil {
		// The stored response is good for the one who asked, and the 304 is
		// that user's own or forbids storing: nothing of it is kept.
		mine := t.base.clone()
		mine.Response = *t.base.UpdatedFor(a)
		if !why.Personal() {
			t.c.forget(t.j.hash, t.base)
		}
		t.f.resolve(outcome{entry: mine, own: true, status: status, why: string(why)})
		return
	}
	updated := []*entry{e}
	var elsewhere []*entry // whose bodies are in Redis alone
	for _, other := range t.stored {
		if other == t.base || !rfc9111.StrongETag(other.ETag) || other.ETag != e.ETag || other.SameVariant(&t.base.Response) ||
			t.c.purges.checkEntry(other) == void {
			continue
		}
		u := t.j.storing.updatedToo(other, a)
		if u == nil {
			continue
		}
		if other.body.loaded() {
			updated = append(updated, u)
		} else {
			elsewhere = append(elsewhere, u)
		}
	}
	kept := t.c.keep(t.j, updated...)
	t.supersede(e)
	t.c.flights.remove(t.f)
	t.f.resolve(outcome{entry: e, status: status})
	t.c.share(t.j, append(kept, elsewhere...))
}

// supersede removes what was validated where what came of it does not take its
// place by itself, as it varies on something else: with a later Date the old
// one would be chosen for ever.
func (t *fetch) supersede(e *entry) {
	if t.base != nil && !e.SameVariant(&t.base.Response) {
		t.c.forget(t.j.hash, t.base)
	}
}

// onHeadResponse passes the answer to a HEAD on, and compares it with what is
// stored, RFC 9111 section 4.3.5: a representation that has changed makes the
// stored one invalid, and one that has not is freshened. An error that may
// pass, or the answer to the client's own condition, says nothing about it.
func (t *fetch) onHeadResponse(a *rfc9111.Arrival) {
	t.c.fetchWhole.set(t.f.key, fetchWholeTTL)
	if t.base != nil && a.Status < 500 && a.Status != http.StatusNotModified && a.Status != http.StatusTooManyRequests {
		if e := t.headUpdate(a); e != nil {
			t.c.share(t.j, t.c.keep(t.j, e))
		} else {
			t.c.forget(t.j.hash, t.base)
		}
	}
	t.stream = newStream(&t.c.filling, 0, -1, false)
	t.f.resolve(outcome{stream: t.stream, arrival: a, leader: t.stream.join(), bare: true,
		status: outcomeStatus{fwd: t.forward(), detail: "head"}})
}

func (t *fetch) headUpdate(a *rfc9111.Arrival) *entry {
	if !t.base.UpdatedByHead(a) {
		return nil
	}
	e, _ := t.j.storing.updated(t.base, a)
	return e
}

// onResponse starts a response's way to its clients and, if it may be stored,
// into the cache.
func (t *fetch) onResponse(a *rfc9111.Arrival) {
	limit := t.j.route.rule.MaxBody
	e, why := t.j.storing.newEntry(a)
	length := rfc9111.DeclaredLength(a.Header)
	if e != nil && length > limit {
		e, why = nil, reasonTooLarge
	}
	if a.Status == http.StatusNoContent || a.Status == http.StatusNotModified {
		length = 0
	}
	t.entry = e
	t.stream = newStream(&t.c.filling, limit, length, e != nil)
	if t.j.asIs && t.base == nil && t.worthFetchingWhole(a, limit) {
		t.c.fetchWhole.set(t.f.key, fetchWholeTTL)
	}
	if e == nil && a.Status < 500 && t.base != nil && why != rfc9111.ReasonRequestNoStore {
		t.c.forget(t.j.hash, t.base) // section 4: it has been superseded
	}
	if e == nil {
		t.open()
		t.inVain()
	}
	detail := string(why)
	if e == nil && t.f.hitForMiss {
		detail = "hit-for-miss"
	}
	t.f.resolve(outcome{
		stream: t.stream, arrival: a, shared: e, leader: t.stream.join(), bare: t.j.asIs && t.base == nil,
		status: outcomeStatus{fwd: t.forward(), stored: e != nil, detail: detail}, why: string(why),
	})
}

// open lets everybody who waits for this flight go their own way: its answer
// is for one request alone.
func (t *fetch) open() {
	t.c.flights.remove(t.f)
	if t.f.contended() {
		t.c.uncacheable.set(t.f.key, hitForMissTTL)
	}
	t.lease.open()
}

// inVain remembers that it was of no use to fetch the whole for a HEAD, a
// conditional or a range request: the next ones go to the origin as they are.
func (t *fetch) inVain() {
	if t.j.whole {
		t.c.unstorable.set(t.f.key, fetchWholeTTL)
	}
}

// worthFetchingWhole reports whether the next request like this one, which got
// something else than the whole, had better have it fetched.
func (t *fetch) worthFetchingWhole(a *rfc9111.Arrival, limit int64) bool {
	switch a.Status {
	case http.StatusNotModified:
		return true
	case http.StatusPartialContent:
		size, ok := rfc9111.CompleteLength(a.Header.Get("Content-Range"))
		return ok && size <= limit
	}
	return false
}

// forward is RFC 9211's reason for this fetch.
func (t *fetch) forward() string {
	switch {
	case t.base != nil && t.j.renew && t.base.FreshFor(t.requested) > 0:
		return fwdRequest
	case t.base != nil:
		return fwdStale
	case len(t.j.req.Header["Range"]) > 0 && t.j.asIs:
		return fwdPartial
	case t.others:
		return fwdVaryMiss
	}
	return fwdURIMiss
}

func (t *fetch) onBody(p []byte) (int, error) {
	if t.dropped || t.stream == nil {
		return len(p), nil
	}
	t.written += int64(len(p))
	if t.stream.length >= 0 && t.written > t.stream.length {
		return 0, http.ErrContentLength
	}
	t.lease.alive()
	if err := t.stream.write(t.f.ctx, p); err != nil {
		return 0, err
	}
	if t.entry != nil && !t.stream.isKept() {
		t.entry = nil // it outgrew what is kept: nobody has anything to wait for
		t.open()
		t.inVain()
	}
	return len(p), nil
}

func (t *fetch) onFlush() {
	if t.stream != nil {
		t.stream.markFlush()
	}
}

// conclude ends the fetch when the handler has returned.
func (t *fetch) conclude(w *capture, err error) {
	if err == nil && !w.committed {
		w.WriteHeader(http.StatusOK)
	}
	if !w.committed {
		t.fail(err)
		return
	}
	if t.dropped || t.stream == nil {
		return
	}
	if err == nil && t.stream.length >= 0 && !t.head && t.written > t.stream.length {
		err = http.ErrContentLength
	}
	if err != nil {
		// The answer has begun: all that is left is to break it off. Whoever
		// comes from here on must not join it.
		t.c.flights.remove(t.f)
		t.stream.finish(errors.Join(errAborted, err), nil)
		return
	}
	// Whoever has had the end of this answer finds it stored.
	var kept []*entry
	if t.entry != nil {
		if b, ok := t.stream.whole(); ok {
			full := t.entry.with(b)
			full.bodyID = randomID()
			kept = t.c.keep(t.j, full)
			t.supersede(full)
		}
	}
	t.c.flights.remove(t.f) // and is not to join what has ended, while Redis is told
	t.stream.finish(nil, w.trailer())
	t.c.share(t.j, kept)
}

// fail handles a fetch that came to no response: the handler returned an error
// or panicked.
func (t *fetch) fail(err error) {
	if t.base != nil && t.base.CoversOutage() && unreachable(err) {
		t.c.unreachable.set(t.f.key, unreachableTTL)
		t.f.resolve(outcome{entry: t.base, status: outcomeStatus{fwd: fwdStale, detail: "unreachable"}})
		return
	}
	if t.base != nil && t.base.NeverStale {
		err = notReused(err)
	}
	o := outcome{err: err, status: outcomeStatus{fwd: t.forward(), detail: "error"}}
	var p *panicked
	if errors.As(err, &p) {
		o.err, o.panic = nil, p.value
	}
	if !sharedFailure(err) {
		t.open()
	}
	t.f.resolve(o)
}

// ErrRefused is to be found (errors.Is) in the error of a next handler that had
// an answer from the origin and refused it, for reasons of this request. Nothing
// stale stands in for that, and nobody else is given the error.
var ErrRefused = errors.New("cache: the origin's answer was refused")

// unreachable reports whether an error means that the origin gave no answer,
// and not that something on the way refused the request, or the answer.
func unreachable(err error) bool {
	if errors.Is(err, ErrRefused) {
		return false
	}
	var he *echo.HTTPError
	if errors.As(err, &he) {
		return he.Code >= 500
	}
	var p *panicked
	return !errors.As(err, &p)
}

// notReused is the error instead of a stored response that must be validated,
// when the origin cannot be reached: a 504, RFC 9111 section 5.2.2.2.
func notReused(err error) error {
	var he *echo.HTTPError
	if !errors.As(err, &he) || he.Code != http.StatusBadGateway {
		return err
	}
	return echo.NewHTTPError(http.StatusGatewayTimeout, "The stored answer must be validated, and the app server cannot be reached.").SetInternal(fmt.Errorf("cache: a stale answer is not allowed: %w", err))
}

// sharedFailure reports whether an error goes for everybody who waits: that
// the origin is away is nobody's secret, and sending all of them there as well
// would not help it.
func sharedFailure(err error) bool {
	if errors.Is(err, ErrRefused) {
		return false
	}
	var he *echo.HTTPError
	return errors.As(err, &he) && (he.Code == 502 || he.Code == 503 || he.Code == 504)
}

func (t *fetch) release() {
	if t.stream != nil {
		t.stream.finish(errAborted, nil) // no effect if it has ended
	}
	t.lease.release()
}

// with completes an entry with its body.
func (e *entry) with(b body) *entry {
	full := e.clone()
	full.body = b
	if e.Status != http.StatusNoContent {
		full.Header["Content-Length"] = []string{strconv.FormatInt(b.size, 10)}
	}
	return full
}

// keep stores entries in the local tier, unless a purge has overtaken them.
func (c *Cache) keep(j *job, entries ...*entry) (kept []*entry) {
	for _, e := range entries {
		if c.purges.checkEntry(e) != void {
			kept = append(kept, e)
			c.observer.Stored(j.route.rule.Name, e.body.size)
		}
	}
	c.local.put(j.hash, kept...)
	return kept
}

// share stores in Redis what was kept.
func (c *Cache) share(j *job, kept []*entry) {
	if c.remote != nil && len(kept) > 0 {
		c.remote.put(c.alive, j.hash, kept)
	}
}

// forget removes an entry that has been superseded by one that is not stored.
func (c *Cache) forget(hash keyHash, e *entry) {
	c.local.remove(hash, e)
	if c.remote != nil {
		c.remote.remove(c.alive, hash, e)
	}
}
