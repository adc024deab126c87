package ratelimit

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/store"
)

// Options configures a [Limiter].
type Options struct {
	// Limits are checked together: a request passes if all of them admit it, and
	// consumes from all or from none. At most MaxLimits.
	Limits []Limit
	// Counters is the state behind the limits, shared by any number of Limiters.
	// Nil makes one in memory, for this Limiter alone.
	Counters *Counters
	// Headers is HeadersDraft where empty.
	Headers HeaderStyle
	// Succeeded reports, for limits that count failed requests, whether a response
	// is a success: on a login route, whether the app has logged a user in. Nil
	// means a status below 400.
	Succeeded func(status int, h http.Header) bool
	// Ending is closed when this instance begins to shut down: no request waits for
	// reservations any longer. Nil means never.
	Ending <-chan struct{}
}

// Limiter checks requests under a set of limits. It holds no state of its own,
// is cheap to make, and safe for concurrent use.
type Limiter struct {
	limits    []*bound
	counters  *Counters
	headers   HeaderStyle
	succeeded func(int, http.Header) bool
	ending    <-chan struct{}
	closes    bool                     // a limit is closed, at one of its sizes
	byParam   bool                     // a limit is keyed by a path's parameter
	byAccount int                      // how many are keyed by account
	denials   []*httpx.RenderedProblem // per limit: the body of a denial by it alone
	policy    []string                 // RateLimit-Policy where all limits apply, at their usual size
}

// New returns a Limiter, or all that is wrong with its limits.
func New(o Options) (*Limiter, error) {
	limits, err := bindAll(o.Limits)
	if err != nil {
		return nil, err
	}
	o.Headers = cmp.Or(o.Headers, HeadersDraft)
	if !slices.Contains(o.Headers.Values(), string(o.Headers)) {
		return nil, errors.New("ratelimit: unknown header style " + string(o.Headers) + "; use draft, legacy or off")
	}
	if o.Counters == nil {
		if o.Counters, err = NewCounters(CountersOptions{}); err != nil {
			return nil, err
		}
	}
	if err := o.Counters.canHold(limits); err != nil {
		return nil, err
	}
	l := &Limiter{limits: limits, counters: o.Counters, headers: o.Headers, succeeded: o.Succeeded, ending: o.Ending}
	usual := make([]item, 0, len(limits))
	for _, b := range limits {
		l.denials = append(l.denials, problemBody(b.Name))
		if b.byAccount {
			l.byAccount++
		} else {
			usual = append(usual, item{limit: b, variant: &b.base})
		}
		l.closes = l.closes || b.base.requests == 0
		for _, v := range b.plans {
			l.closes = l.closes || v.requests == 0
		}
		l.byParam = l.byParam || slices.ContainsFunc(b.Key, func(p KeyPart) bool { return p.Kind == KeyParam })
	}
	l.policy = []string{policyOf(usual)}
	return l, nil
}

// Denied is the part of [Limiter.Check] that costs least: it returns a denial if
// the deny cache has one for this request, and nil otherwise. It asks neither
// Redis nor the counters, and leaves out limits by user or session, so that it can stand before
// the session is loaded. Where a limit has numbers for plans it leaves all to Check, unless
// [Request.NoSession] is set: the session may be on one of these.
func (l *Limiter) Denied(r *Request) *Result {
	if !r.NoSession && l.sizedBySession(r.Plan) {
		return nil
	}
	res := l.begin(r)
	if !l.gather(res, r, true) || !l.closed(res) && !l.remembered(res) {
		r.spare = res
		return nil
	}
	l.conclude(res, r)
	return res
}

// sizedBySession reports whether the size of a limit depends on the session.
func (l *Limiter) sizedBySession(plan string) bool {
	for _, b := range l.limits {
		if b.sizedBySession(plan) {
			return true
		}
	}
	return false
}

// begin makes a Result, or takes the one that Denied has left in the request: it
// is the largest piece of memory that a check needs.
func (l *Limiter) begin(r *Request) *Result {
	res := r.spare
	if r.spare = nil; res == nil {
		res = new(Result)
	}
	*res = Result{limiter: l, allowed: true}
	res.items = res.space[:0]
	return res
}

// Check decides a request under all limits at once, and consumes from all or
// none.
//
// The check travels in batch, if it is not nil, together with what that holds;
// where no round trip is needed (a remembered denial, counters in memory) batch is
// left as it is. A check goes on when ctx ends, so that a client that disconnects
// is counted; it takes as long as the store's timeout at most.
//
// A request that reservations alone deny waits for them, [MaxWait] at most, but not when
// ctx has ended: it has consumed nothing. Where too many wait already it is denied at once.
//
// A Result that is allowed must be settled once the response is known, where
// [Result.NeedsResponse] says so; see [Result.Settle].
func (l *Limiter) Check(ctx context.Context, r *Request, batch *store.Batch) *Result {
	res := l.begin(r)
	if !l.gather(res, r, false) {
		return res
	}
	if !l.closed(res) && !l.remembered(res) && !l.counters.lines.joins(res) {
		l.ask(ctx, res, batch)
	}
	if res.waits() {
		l.wait(ctx, res, batch)
	}
	l.conclude(res, r)
	res.hold()
	return res
}

// gather finds the limits that apply to the request, at which size, and the keys
// of their counters: those by account where one has been tried, else the others. With
// early it leaves out limits by user or session.
func (l *Limiter) gather(res *Result, r *Request, early bool) bool {
	plans := r.plans()
	for i, b := range l.limits {
		if b.byAccount != (r.account != "") || early && (b.needsSession || b.DryRun) || b.allows(r.Addr) {
			continue
		}
		it := item{limit: b, variant: b.sizeFor(plans[:]...), asks: true}
		it.key.limit = it.variant.id
		if it.leased() {
			it.lease = l.counters.leases.next()
		}
		known := false
		if b.sameKeyAs < i {
			for j := range res.items {
				if earlier := &res.items[j]; earlier.limit.sameKeyAs == b.sameKeyAs {
					it.key.digest, it.tag, known = earlier.key.digest, earlier.tag, true
					break
				}
			}
		}
		if !known {
			it.key.digest, it.tag = digests(b.Key, r)
		}
		res.items = append(res.items, it)
	}
	return len(res.items) > 0
}

// remembered looks for denials in the deny cache.
func (l *Limiter) remembered(res *Result) bool {
	now := l.counters.clock()
	found := false
	for i := range res.items {
		it := &res.items[i]
		if it.Closed { // in a dry run
			continue
		}
		it.decided = !it.limit.DryRun && l.counters.denied.find(it, now)
		found = found || it.decided
	}
	res.allowed = !found
	return found
}

// ask has the counters decide.
func (l *Limiter) ask(ctx context.Context, res *Result, batch *store.Batch) {
	res.allowed, res.unavailable = true, false
	asks := false
	for i := range res.items {
		it := &res.items[i]
		it.asks = !it.Closed
		it.version = l.counters.denied.version(it.key)
		asks = asks || it.asks
	}
	if !asks {
		return
	}
	if l.counters.redis == nil {
		from(res.items, FromMemory)
		l.counters.memory.take(res.items, l.counters.clock(), false)
	} else if err := l.inRedis(ctx, res, batch); err != nil && l.fallBack(res) {
		l.counters.locally(res.items, false, err, false)
	}
	for i := range res.items {
		res.allowed = res.allowed && !res.items[i].vetoes()
	}
}

// from notes which counters decide the items that ask.
func from(items []item, source Source) {
	for i := range items {
		if items[i].asks {
			items[i].source = source
		}
	}
}

// inRedis asks Redis.
func (l *Limiter) inRedis(ctx context.Context, res *Result, batch *store.Batch) error {
	c := l.counters
	begin := c.now()
	from(res.items, FromRedis)
	err := c.redis.take(ctx, res.items, batch, false)
	c.observer.RoundTrip(c.now().Sub(begin), err)
	if err != nil {
		c.complain("rate limits cannot be checked in Redis", err)
		return err
	}
	c.learn(res.items)
	c.redisDecided()
	return nil
}

// fallBack does what each limit's OnRedisError says, and reports whether the counters of this process are to be asked, and by which items.
func (l *Limiter) fallBack(res *Result) bool {
	c := l.counters
	local := false
	for i := range res.items {
		it := &res.items[i]
		if it.Closed {
			continue
		}
		it.decided, it.charged = false, false
		it.asks = it.limit.OnRedisError == Local
		local = local || it.asks
		if it.limit.OnRedisError == Closed && !it.limit.DryRun {
			res.allowed, res.unavailable = false, true
		}
		if !it.asks {
			c.observer.Decided(it.limit.Name, Failed, FromRedis)
		}
	}
	if res.unavailable || !local {
		return false
	}
	c.countLocally()
	return true
}

// conclude reports to the observer what the limits decided, and puts denials into the
// deny cache.
func (l *Limiter) conclude(res *Result, r *Request) {
	c := l.counters
	now := c.clock()
	for i := range res.items {
		it := &res.items[i]
		switch {
		case !it.decided:
		case it.vetoes():
			if !it.Unsettled && !it.Closed && it.source != FromDenyCache {
				c.denied.remember(it, now, min(c.hold(res.items), it.hold(r)), it.version)
			}
			l.noteDenial(it, r, now)
			res.deniedBy(it)
			c.observer.Decided(it.limit.Name, Denied, it.source)
		case !it.Allowed:
			c.noteDryRun(it, r)
			c.observer.Decided(it.limit.Name, DryRunDenied, it.source)
		case res.allowed:
			c.observer.Decided(it.limit.Name, Admitted, it.source)
		}
	}
}

// hold is how long the deny cache may keep a denial. It is a second where the
// denial may end early: where the limits of a request lie in several slots, so that
// one may deny because of a reservation that is about to be refunded; where this
// instance would miss an operator's reset; and where the local counters decided,
// which know but a part.
func (c *Counters) hold(items []item) time.Duration {
	if c.redis == nil {
		return MaxWindow
	}
	if c.scattered(items) || c.local.Load() || !c.listener.hears() {
		return time.Second
	}
	return MaxWindow
}

// hold is a second for a denial at a size that goes by the session's plan: another instance may have
// put the session on another one, which this one learns by reading the session.
func (it *item) hold(r *Request) time.Duration {
	if r.User != "" && it.limit.sizedBySession(r.Plan) {
		return time.Second
	}
	return MaxWindow
}

// scattered reports whether the limits of a request lie in several slots of a Cluster.
func (c *Counters) scattered(items []item) bool {
	return c.redis != nil && c.redis.cluster && slices.ContainsFunc(items, func(it item) bool { return it.tag != items[0].tag })
}

// noteDenial counts a denial towards a ban, and for the list of most denied keys.
func (l *Limiter) noteDenial(it *item, r *Request, now int64) {
	if it.limit.bans() && !it.Banned && !it.Unsettled && !it.Closed {
		l.counters.bans.note(it, r, now)
	}
	l.counters.top.note(it, r, now)
	l.counters.fleet.wake()
}

// noteDryRun logs, once a second at most, that a limit in dry run would have denied.
func (c *Counters) noteDryRun(it *item, r *Request) {
	if c.seldom(&c.dryRun, time.Second) {
		c.log.Info("a dry run would have denied", "limit", it.limit.Name, "route", r.Route, "client", r.Addr)
	}
}

// canHold reports a limit whose counters are too large for the memory.
func (c *Counters) canHold(limits []*bound) error {
	var errs []error
	for _, b := range limits {
		if b.mostBytes() > c.memory.maxBytes.Load() {
			errs = append(errs, errors.New("limit \""+b.Name+"\": its counter is too large for the memory given to counters; raise CountersOptions.MemoryBytes, lower its requests or use sliding_window"))
		}
	}
	return errors.Join(errs...)
}
