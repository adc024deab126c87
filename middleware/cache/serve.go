package cache

import (
	"context"
	"crypto/sha256"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/cache/internal/collapse"
	"github.com/headgate/headgate/middleware/cache/internal/fleet"
	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// Serve answers one request: from what is stored, else by origin, the handler
// that asks the origin. It does what [Route.Plan] says.
//
// known is what the caller knows of the request; the route's functions that
// would tell it are not called then. Nil: they are.
//
// origin may be called without a client, in another goroutine, with an
// echo.Context made for the purpose: the request and its context's values are
// the client's, what was kept with Context.Set is not. An error that it
// returns is passed on and never stored; where it means that there was no
// response, a stale one may stand in (see [ErrRefused]).
func (c *Cache) Serve(ec echo.Context, r *Route, known *Facts, origin echo.HandlerFunc) error {
	x := request{cache: c, route: r, origin: origin, c: ec}
	switch action, why := x.read(known); {
	case action == ActionInvalidate:
		return c.invalidating(ec, r, origin, x.facts.Scheme)
	case action == ActionForward && why == "":
		return origin(ec)
	case action == ActionForward:
		defer c.asking.Give(x.unasked)
		return x.pass(why, x.detail)
	}
	defer x.content.release(c.asking)
	var buf [keySpace]byte // on the stack: a hit keeps nothing of its key
	key := r.keyOf(ec.Request(), &x.facts, x.content)
	text := key.appendText(buf[:0])
	if len(text) > maxKey {
		return x.pass(fwdBypass, detailKeyTooLong)
	}
	x.hash, x.now = sha256.Sum256(text), c.now()
	if served, err := x.fromLocal(text); served {
		return err
	}
	x.keyText = string(text)
	return x.fromFlight()
}

// maxAttempts bounds how often one request waits for a shared response before
// it goes to the origin by itself.
const maxAttempts = 4

// fromFlight answers from a flight, or from the local tier after one.
func (x *request) fromFlight() error {
	for {
		if x.onlyIfCached {
			return x.onlyStored()
		}
		next, err := x.await()
		if next == done {
			return err
		}
		if next == bypassCollapse || x.attempts == maxAttempts {
			return x.pass(fwdURIMiss, "not-shareable")
		}
		if served, err := x.fromLocal([]byte(x.keyText)); served {
			return err
		}
	}
}

// join gives the flight to wait for, and whether this request leads it.
func (x *request) join() (f *flight, leads bool) {
	c, ctx := x.cache, x.c.Request().Context()
	key := x.flightKey()
	mode, joining := x.chooseMode(key)
	switch joining {
	case joinOrLead:
		f, leads = c.flights.Join(ctx, key)
	case joinOrAlone:
		f = c.flights.JoinExisting(key)
	}
	if f != nil && !leads {
		f.JoinedBy(x.client())
		return f, false
	}
	if f == nil {
		f = c.flights.Unshared(ctx, key)
	}
	j := x.newJob(f.Context(), mode)
	j.follows = joining == joinOrAlone
	if joining == aloneHitForMiss {
		j.unstoredDetail = "hit-for-miss"
	}
	c.start(f, j)
	return f, true
}

// refresh has a stale entry fetched again, once, while it is being served.
func (x *request) refresh() {
	f, leads := x.cache.flights.Join(x.c.Request().Context(), x.flightKey())
	if !leads {
		f.Leave()
		return
	}
	x.cache.start(f, x.newJob(f.Context(), refreshStale))
	f.Background()
}

// place is where a request waits.
type place struct {
	flight *flight
	leads  bool
	// earlier is the flight that the request followed first, if that was overdue: what comes of
	// it is for the request, too. Nil: none.
	earlier *flight
}

func (p *place) leave() {
	if p.leads {
		p.flight.LeaderDone()
	}
	p.flight.Leave()
	p.leaveEarlier()
}

func (p *place) leaveEarlier() {
	if p.earlier != nil {
		p.earlier.Leave()
		p.earlier = nil
	}
}

// moveOn takes the place of a request whose flight is overdue to the one in its place. The first request to
// come there leads it.
func (x *request) moveOn(p *place) {
	late := p.flight
	p.flight, p.leads = x.join()
	if p.earlier != nil {
		late.Leave()
	} else {
		p.earlier = late
	}
	if p.leads {
		p.leaveEarlier()
	}
}

// await waits for a flight's outcome and serves it, if it is for this request.
func (x *request) await() (step, error) {
	var p place
	p.flight, p.leads = x.join()
	defer p.leave()
	x.attempts++
	client := x.c.Request().Context()
	for {
		var interims <-chan collapse.Interim
		var overdue, earlier <-chan struct{} // of a follower
		if p.leads {
			interims = p.flight.Interims()
		} else {
			overdue = p.flight.Overdue()
		}
		if p.earlier != nil {
			earlier = p.earlier.Ready()
		}
		select {
		case i := <-interims:
			x.passInterim(i)
		case <-p.flight.Ready():
			return x.takeOf(p.flight, p.leads)
		case <-earlier:
			return x.takeOf(p.earlier, false)
		case <-overdue:
			if !p.flight.Resolved() {
				x.moveOn(&p)
			}
		case <-client.Done():
			return done, context.Cause(client)
		}
	}
}

// takeOf serves the outcome of a flight, if it is for this request.
func (x *request) takeOf(f *flight, leads bool) (step, error) {
	x.now = x.cache.now()
	next, err := x.take(f.Outcome(), leads)
	if next != done {
		x.cache.removePurged(f)
	}
	return next, err
}

// removePurged keeps requests that come after a purge from joining a flight
// that the purge has overtaken: they begin another one.
func (c *Cache) removePurged(f *flight) {
	if e := f.Outcome().entry; e != nil && c.validity(e) == fleet.Void {
		c.flights.Remove(f)
	}
}

// take serves an outcome, if this request may have it: the leader always, any
// other request by the whole of RFC 9111 section 4.
func (x *request) take(o *outcome, leads bool) (step, error) {
	switch {
	case o.kind == nothing:
		return lookAgain, nil
	case o.kind == handlerPanicked && leads:
		panic(o.panicked)
	case o.kind == failed, o.kind == handlerPanicked:
		return x.takeFailure(o, leads)
	case leads:
		return done, x.takeAsLeader(o)
	case !o.kind.forFollowers():
		return bypassCollapse, nil
	}
	return x.takeAsFollower(o)
}

func (x *request) takeAsLeader(o *outcome) error {
	x.note(Result{Hit: o.status.hit, Tier: o.tier, Stale: o.kind == staleOnOutage, Forward: o.status.fwd, Detail: string(o.why)})
	if o.complete() {
		return x.serveEntry(o.entry, o.entry.Age(x.now), o.status)
	}
	return x.serveLeader(o)
}

func (x *request) takeAsFollower(o *outcome) (step, error) {
	e, verdict, _ := x.cache.choose([]*entry{o.entry}, &x.want, x.now)
	if e == nil {
		x.varies = o.entry.Vary // wait for the right variant next time
		return lookAgain, nil
	}
	if verdict < rfc9111.StaleRefresh && !o.kind.standsIn() {
		return bypassCollapse, nil
	}
	status := outcomeStatus{fwd: o.status.fwd, hit: o.status.hit, collapsed: !o.status.hit}
	if o.complete() {
		x.note(Result{Hit: true, Tier: o.tier, Stale: verdict != rfc9111.Fresh, Collapsed: true})
		return done, x.serveEntry(e, e.Age(x.now), status)
	}
	reader := o.stream.Join()
	if reader == nil { // it has outgrown what is kept
		return bypassCollapse, nil
	}
	x.note(Result{Hit: true, Collapsed: true})
	return done, x.serveFollower(e, reader, status)
}

// takeFailure passes an error on to the request that caused it, and to all that
// waited if the error is about the origin and not about that request.
func (x *request) takeFailure(o *outcome, leads bool) (step, error) {
	if !leads && !o.shared {
		return bypassCollapse, nil
	}
	x.note(Result{Forward: o.status.fwd, Detail: "error", Collapsed: !leads})
	if o.err == collapse.ErrAborted {
		panic(http.ErrAbortHandler)
	}
	status := o.status
	status.collapsed = !leads
	status.set(x.c.Response().Header(), x.cache.name)
	return done, o.err
}

// onlyStoredTimeout bounds how long a request with "only-if-cached" waits for
// Redis.
const onlyStoredTimeout = 5 * time.Second

// onlyStored answers "only-if-cached", RFC 9111 section 5.2.1.7, from Redis:
// the local tier had nothing.
func (x *request) onlyStored() error {
	ctx, cancel := context.WithTimeout(x.c.Request().Context(), onlyStoredTimeout)
	defer cancel()
	found := x.cache.look(ctx, x.newJob(ctx, fetchShared))
	if found.verdict >= rfc9111.StaleRefresh {
		x.note(Result{Hit: true, Tier: found.tier, Stale: found.verdict != rfc9111.Fresh})
		return x.serveEntry(found.entry, found.entry.Age(x.now), outcomeStatus{hit: true})
	}
	x.note(Result{Detail: "only-if-cached"})
	status := outcomeStatus{detail: "only-if-cached"}
	status.set(x.c.Response().Header(), x.cache.name)
	return echo.NewHTTPError(http.StatusGatewayTimeout, "the request asks for a stored response, and none may be used")
}

// pass sends the request to the origin with the client's own writer, as if
// there were no cache.
func (x *request) pass(fwd, detail string) error {
	x.note(Result{Forward: fwd, Detail: detail})
	res := x.c.Response()
	status := outcomeStatus{fwd: fwd, detail: detail}
	name := x.cache.name
	res.Before(func() { status.set(res.Header(), name) })
	return x.origin(x.c)
}
