package cache

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// MiddlewareOptions is what a [Cache] has to know of the route that it is put
// on. The zero value is right for an Echo app without users.
type MiddlewareOptions struct {
	// Partition separates keys of one Rule, say by the upstream that answers.
	Partition string

	// Scheme gives the scheme that a client used. Nil: https with TLS, http
	// without; X-Forwarded-Proto is any client's to send and is not read.
	Scheme func(*http.Request) string

	// LiveSession says that a request belongs to a live session: only what
	// the origin calls public is then stored or served. Nil: none does.
	LiveSession func(*http.Request) bool

	// Bypass says that a request goes straight to the origin: an operator's
	// who may. Its answer is not stored. Nil: none does.
	Bypass func(*http.Request) bool

	// UpstreamField gives a field of the request as the origin will see it,
	// for Vary. Nil: the request's own, and Host. It is called on requests
	// and, in fetches, on copies of them, concurrently.
	UpstreamField func(r *http.Request, name string) []string

	// Control are names of response fields that make an answer one user's:
	// it is neither stored nor shared. * stands for anything; names are
	// compared in lower case, with every other character than a letter or a
	// digit as "-".
	Control []string

	// Unstored are names of response fields that are never stored, written
	// like Control, besides those of one delivery (rate limits, request IDs).
	Unstored []string

	// PurgeTags are purged when an unsafe request succeeds, on every instance
	// and before its client is answered.
	PurgeTags []string
}

// route is a rule on a route, in front of a handler.
type route struct {
	cache *Cache
	rule  *rule
	opts  MiddlewareOptions
	next  echo.HandlerFunc
	echo  *echo.Echo

	control, unstored globs
	purge             []tag
}

// Middleware makes a cache with one rule, Options.Rule, for an Echo app of its
// own. It panics if the options are wrong, as that is the program's mistake.
func Middleware(o Options) echo.MiddlewareFunc {
	c, err := New(o)
	if err != nil {
		panic(err)
	}
	if o.Rule.Name == "" {
		o.Rule.Name = "default"
	}
	return c.Middleware(o.Rule, o.Route)
}

// Middleware puts the cache in front of the handlers of a route, or of a whole
// Echo app. It panics if the rule is wrong; [Rule.Check] tells beforehand.
//
// The handler may be called without a client, in another goroutine, with an
// echo.Context made for the purpose: the request and its context's values are
// the client's, what was kept with Context.Set is not. An error that it
// returns is passed on and never stored; where it means that there was no
// answer, a stale one may stand in (see [ErrRefused]).
func (c *Cache) Middleware(r Rule, o MiddlewareOptions) echo.MiddlewareFunc {
	compiled, err := r.compile()
	if err != nil {
		panic(err)
	}
	base := route{cache: c, rule: compiled, opts: o}
	var err1, err2 error
	base.control, err1 = newGlobs("Control", o.Control)
	base.unstored, err2 = newGlobs("Unstored", o.Unstored)
	if err1 != nil || err2 != nil {
		panic(fmt.Errorf("cache: rule %s: %v %v", r.Name, err1, err2))
	}
	base.purge = nameTags(o.PurgeTags)
	c.register(compiled)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		m := base
		m.next = next
		return m.serve
	}
}

// maxAttempts bounds how often one request asks for a shared answer before it
// goes to the origin by itself.
const maxAttempts = 4

// serve answers one request.
func (m *route) serve(c echo.Context) error {
	req := c.Request()
	if unsafeMethod(req.Method) {
		return m.cache.invalidating(c, m.next, m.scheme(req), m.purge)
	}
	x := exchange{m: m, c: c}
	if why := x.classify(req); why != "" {
		return x.pass(why, "")
	}
	x.open()
	defer x.close()
	if len(*x.text) > maxKey {
		return x.pass(fwdBypass, "key-too-long")
	}

	for attempt := 0; attempt < maxAttempts; attempt++ {
		if done, err := x.fromLocal(); done {
			return err
		}
		if x.cc.OnlyIfCached {
			return x.onlyStored()
		}
		f, leads := x.join()
		done, err := x.await(f, leads)
		if done {
			return err
		}
		if x.lonely {
			break
		}
	}
	return x.pass(fwdURIMiss, "not-shareable")
}

// fromLocal answers from the local tier, if that may be done at once.
func (x *exchange) fromLocal() (done bool, err error) {
	c := x.m.cache
	if !c.localUsable() {
		return false, nil
	}
	res := c.local.get(x.hash, *x.text)
	if res == nil {
		return false, nil
	}
	x.varies = res.variants[0].Vary
	e, v, _ := c.choose(res.variants, &x.want, x.now)
	switch v {
	case rfc9111.StaleRefresh:
		x.refresh(e)
	case rfc9111.Fresh, rfc9111.StaleAllowed:
	case rfc9111.MustValidate:
		x.base = e
		if !e.CoversOutage() || !c.unreachable.has(x.flightKey()) {
			return false, nil
		}
	default:
		return false, nil
	}
	x.note(Result{Hit: true, Tier: TierLocal, Stale: v != rfc9111.Fresh})
	return true, x.serveEntry(e, outcomeStatus{hit: true})
}

// join gives the flight to wait for: one under way, or a new one that this
// request leads: for itself alone if waiting is known to be of no use.
func (x *exchange) join() (f *flight, leads bool) {
	c, ctx := x.m.cache, x.c.Request().Context()
	key := x.flightKey()
	if c.uncacheable.has(key) { // a hit for a miss, whose answer may be stored
		f = newFlight(ctx, key)
		f.hitForMiss = true
		return x.lead(f, true), true
	}
	asIs := x.head || x.conditional || x.ranged
	if asIs && x.attempt == 0 && x.base == nil && !c.fetchesWhole(key) {
		// The first of its kind goes as it is, unless somebody is at it.
		if f := c.flights.current(key); f != nil {
			return f, false
		}
		return x.lead(newFlight(ctx, key), true), true
	}
	if x.cc.NoStore {
		// Its answer may not be stored (RFC 9111 section 5.2.1.5): a client
		// that says so must not have others wait for that.
		if f := c.flights.current(key); f != nil {
			return f, false
		}
		return x.lead(newFlight(ctx, key), true), true
	}
	if x.alone() || (x.head && x.base != nil && !c.fetchesWhole(key)) {
		return x.lead(newFlight(ctx, key), true), true
	}
	f, leads = c.flights.join(ctx, key)
	if leads {
		x.lead(f, false)
	}
	return f, leads
}

// alone reports whether a validation serves this request only.
func (x *exchange) alone() bool {
	return (x.base != nil && x.base.NoCache) || x.want.ForcesValidation()
}

// lead starts a flight in a goroutine of its own.
func (x *exchange) lead(f *flight, solo bool) *flight {
	j := x.job(f.ctx)
	j.solo = solo
	special := x.head || x.conditional || x.ranged
	j.asIs, j.whole = solo && special, !solo && special
	j.renew = x.want.Obey && x.alone()
	x.m.cache.start(f, j)
	return f
}

// start runs a flight in a goroutine of its own. After Close there are none:
// the flight is over at once, and its request goes to the origin by itself.
func (c *Cache) start(f *flight, j *job) {
	f.detached = &c.detached // before anybody can be the last to leave it
	if !c.spawn(func() { c.run(f, j) }) {
		c.flights.remove(f)
		f.resolve(outcome{retry: true})
		f.end()
		f.cancel()
	}
}

// refresh has a stale entry fetched again, once, while it is being served.
func (x *exchange) refresh(e *entry) {
	c := x.m.cache
	f, leads := c.flights.join(x.c.Request().Context(), x.flightKey())
	if leads {
		f.abandon()
		j := x.job(f.ctx)
		j.refresh = true
		j.storing.NoStore = false // it is the cache's own request
		c.start(f, j)
	}
	f.leave()
}

// await waits for a flight's outcome and serves it. done is false if the
// outcome is not for this request.
func (x *exchange) await(f *flight, leads bool) (done bool, err error) {
	defer f.leave()
	var interims <-chan interim
	if leads {
		interims = f.interim
		defer f.abandon()
	}
	x.attempt++
	client := x.c.Request().Context()
	for waiting := true; waiting; {
		select {
		case i := <-interims:
			x.passInterim(i)
		case <-f.ready:
			waiting = false
		case <-client.Done():
			return true, context.Cause(client)
		}
	}
	x.now = x.m.cache.now()
	if done, err = x.take(&f.outcome, leads); !done {
		x.m.cache.retire(f)
	}
	return done, err
}

// retire takes a flight that a purge has overtaken out of the way of those who
// come after the purge: they are to begin another one.
func (c *Cache) retire(f *flight) {
	candidate := f.outcome.entry
	if candidate == nil {
		candidate = f.outcome.shared
	}
	if candidate != nil && c.purges.checkEntry(candidate) == void {
		c.flights.remove(f)
	}
}

// take serves an outcome, if this request may have it: the one that led to it
// always, any other by the whole of RFC 9111 section 4.
func (x *exchange) take(o *outcome, leads bool) (done bool, err error) {
	if o.retry {
		return false, nil
	}
	if o.panic != nil && leads {
		panic(o.panic)
	}
	if o.err != nil || o.panic != nil {
		return x.takeFailure(o, leads)
	}
	if leads {
		x.note(Result{Hit: o.status.hit, Tier: o.tier, Stale: o.entry != nil && o.status.detail == "unreachable", Forward: o.status.fwd, Detail: o.why})
		if o.entry != nil {
			return true, x.serveEntry(o.entry, o.status)
		}
		return true, x.serveOwn(o)
	}
	candidate := o.entry
	if candidate == nil {
		candidate = o.shared
	}
	if candidate == nil || o.own || o.bare {
		x.lonely = true
		return false, nil
	}
	e, v, _ := x.m.cache.choose([]*entry{candidate}, &x.want, x.now)
	if e == nil {
		x.varies = candidate.Vary // wait for the right variant next time
		return false, nil
	}
	standIn := o.entry != nil && o.status.fwd == fwdStale && o.status.fwdStatus != http.StatusNotModified
	if v < rfc9111.StaleRefresh && !standIn {
		x.lonely = true
		return false, nil
	}
	status := outcomeStatus{fwd: o.status.fwd, hit: o.status.hit, collapsed: !o.status.hit}
	if o.entry != nil {
		x.note(Result{Hit: true, Tier: o.tier, Stale: v != rfc9111.Fresh, Collapsed: true})
		return true, x.serveEntry(o.entry, status)
	}
	r := o.stream.join()
	if r == nil {
		x.lonely = true // it outgrew what is kept
		return false, nil
	}
	x.note(Result{Hit: true, Collapsed: true})
	return true, x.serveShared(e, o.stream, r, status)
}

// takeFailure passes an error on to the one who caused it, and to all who
// waited if it is about the origin and not about that request.
func (x *exchange) takeFailure(o *outcome, leads bool) (done bool, err error) {
	if !leads && !sharedFailure(o.err) {
		x.lonely = true
		return false, nil
	}
	x.note(Result{Forward: o.status.fwd, Detail: "error", Collapsed: !leads})
	if o.err == errAborted {
		panic(http.ErrAbortHandler)
	}
	status := o.status
	status.collapsed = !leads
	status.set(x.c.Response().Header(), x.m.cache.name)
	return true, o.err
}

// onlyStored answers "only-if-cached", RFC 9111 section 5.2.1.7: from Redis
// at best, for the local tier has been asked.
func (x *exchange) onlyStored() error {
	c := x.m.cache
	ctx, cancel := context.WithTimeout(x.c.Request().Context(), 5*time.Second)
	defer cancel()
	found := c.look(ctx, x.job(ctx))
	if found.verdict >= rfc9111.StaleRefresh {
		x.note(Result{Hit: true, Tier: found.tier, Stale: found.verdict != rfc9111.Fresh})
		return x.serveEntry(found.entry, outcomeStatus{hit: true})
	}
	x.note(Result{Detail: "only-if-cached"})
	status := outcomeStatus{detail: "only-if-cached"}
	status.set(x.c.Response().Header(), c.name)
	return echo.NewHTTPError(http.StatusGatewayTimeout, "the request asks for a stored response, and none may be used")
}
