package ratelimit

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/headgate/headgate/middleware/clientip"
	"github.com/headgate/headgate/middleware/store"
	"github.com/labstack/echo/v4"
)

// Options configures a [Limiter], and [Middleware].
type Options struct {
	// Limits are checked together: a request passes if all admit it, and
	// consumes from all or from none. At most MaxLimits.
	Limits []Limit
	// Counters is the state behind the limits, shared by any number of Limiters.
	// Nil makes one in memory, for this Limiter alone.
	Counters *Counters
	// Headers is HeadersDraft where empty.
	Headers HeaderStyle
	// Succeeded replaces the status as the criterion of limits that count failed
	// requests: on a login route, whether the app logged somebody in. It sees the
	// app's answer, its status and header. Nil means a status below 400.
	Succeeded func(status int, h http.Header) bool
	// CORS adds to the header of a denial what lets the page that made the
	// request read it, as the app would have. Nil adds nothing.
	CORS func(h http.Header, r *http.Request)

	// The rest is for the middleware alone.

	// Route names the route, for key route and nothing else. Nil means the path
	// that Echo matched.
	Route func(echo.Context) string
	// Identify says who the request has proved to come from. Nil means the
	// Subject that NewContext left in the request's context.
	Identify func(echo.Context) Subject
	// Resolver finds the client's address where no clientip middleware has done
	// so. Nil means the peer's address, with IPv6 clients counted by their /64.
	Resolver *clientip.Resolver
	// Skip exempts requests, such as the CORS preflights that the server itself
	// answers.
	Skip func(*http.Request) bool
	// Batch, if set, returns the commands of the request that the check travels
	// then travels. Nil, or a nil Batch, means one of its own.
	Batch func(*http.Request) *store.Batch
}

// Limiter checks requests under a set of limits. It holds no state of its own,
// is cheap to make, and safe for concurrent use.
type Limiter struct {
	limits    []*bound
	counters  *Counters
	headers   HeaderStyle
	succeeded func(int, http.Header) bool
	problems  []denialBody // per limit: the body of a denial by it alone
	policy    []string     // RateLimit-Policy where all limits apply, at their usual size
	options   Options
}

// New returns a Limiter, or all that is wrong with its limits.
func New(o Options) (*Limiter, error) {
	limits, err := bindAll(o.Limits)
	if err != nil {
		return nil, err
	}
	switch o.Headers {
	case "":
		o.Headers = HeadersDraft
	case HeadersDraft, HeadersLegacy, HeadersOff:
	default:
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
	if o.Resolver == nil {
		if o.Resolver, err = clientip.New(clientip.Options{}); err != nil {
			return nil, err
		}
	}
	l := &Limiter{limits: limits, counters: o.Counters, headers: o.Headers, succeeded: o.Succeeded, options: o}
	usual := make([]item, 0, len(limits))
	for _, b := range limits {
		l.problems = append(l.problems, problem(b.Name))
		usual = append(usual, item{limit: b, variant: &b.base})
	}
	l.policy = []string{policyOf(usual)}
	return l, nil
}

// Denied answers from what is remembered of earlier denials, without Redis and
// before a session is loaded: it returns nil unless a limit whose key needs no
// session is known to deny the request. The gateway asks this first, so that an
// abuser costs next to nothing.
func (l *Limiter) Denied(r *Request) *Outcome {
	o := l.begin(r)
	if !l.gather(o, r, true) || !l.denied(o, r) {
		r.spare = o
		return nil
	}
	return o
}

// begin makes an Outcome, or takes the one that Denied had no use for: it is
// the largest piece of memory that a check needs.
func (l *Limiter) begin(r *Request) *Outcome {
	o := r.spare
	if r.spare = nil; o == nil {
		o = new(Outcome)
	}
	*o = Outcome{limiter: l, allowed: true}
	o.items = o.space[:0]
	return o
}

// Check decides a request under all limits at once, and consumes from all or
// none.
//
// The check travels in batch, if it is not nil, together with what that holds; where
// no round trip is needed (a remembered denial, counters in memory) batch is
// left as it is. A client that leaves does not interrupt a check; it takes as
// long as the store's timeout at most.
//
// The Outcome must be settled, once the answer is known, where limits count by
// the answer; see [Outcome.Settle].
func (l *Limiter) Check(ctx context.Context, r *Request, batch *store.Batch) *Outcome {
	o := l.begin(r)
	l.gather(o, r, false)
	if len(o.items) == 0 || l.denied(o, r) {
		return o
	}
	for i := range o.items {
		o.items[i].version = l.counters.denied.version(o.items[i].key)
	}
	if l.counters.redis == nil {
		l.inMemory(o, FromMemory)
	} else if !l.inRedis(ctx, o, batch) {
		l.withoutRedis(o)
	}
	l.conclude(o, r)
	return o
}

// gather finds the limits that apply to the request, at which size, and whose
// counters they are. With early, limits that need the session are left out.
func (l *Limiter) gather(o *Outcome, r *Request, early bool) bool {
	for i, b := range l.limits {
		if early && (b.needsSession || b.DryRun) || b.allows(r.Addr) {
			continue
		}
		it := item{limit: b, variant: b.of(r.Plan), asks: true}
		it.key.limit = it.variant.id
		known := false
		if b.sameKeyAs < i {
			for j := range o.items {
				if earlier := &o.items[j]; earlier.limit.sameKeyAs == b.sameKeyAs {
					it.key.digest, it.tag, known = earlier.key.digest, earlier.tag, true
					break
				}
			}
		}
		if !known {
			it.key.digest, it.tag = digests(b.Key, r)
		}
		o.items = append(o.items, it)
	}
	return len(o.items) > 0
}

// denied looks for remembered denials.
func (l *Limiter) denied(o *Outcome, r *Request) bool {
	now := l.counters.clock()
	found := false
	for i := range o.items {
		it := &o.items[i]
		if !it.limit.DryRun && l.counters.denied.find(it, now) {
			found = true
			l.noteDenial(it, r, now)
			l.counters.observer.Decided(it.limit.Name, Denied, FromDenyCache)
		}
	}
	if found {
		o.allowed = false
	}
	return found
}

// inMemory asks this process' counters.
func (l *Limiter) inMemory(o *Outcome, source Source) {
	for i := range o.items {
		if o.items[i].asks {
			o.items[i].source = source
		}
	}
	l.counters.memory.take(o.items, l.counters.clock(), false)
}

// inRedis asks Redis, and reports whether it answered.
func (l *Limiter) inRedis(ctx context.Context, o *Outcome, batch *store.Batch) bool {
	c := l.counters
	begin := c.now()
	for i := range o.items {
		o.items[i].source = FromRedis
	}
	err := c.redis.take(ctx, o.items, batch, false)
	c.observer.RoundTrip(c.now().Sub(begin), err)
	if err != nil {
		c.complain("rate limits cannot be checked in Redis", err)
		return false
	}
	c.redisDecided()
	return true
}

// withoutRedis does what each limit's OnRedisError says.
func (l *Limiter) withoutRedis(o *Outcome) {
	c := l.counters
	local := false
	for i := range o.items {
		it := &o.items[i]
		it.decided, it.charged = false, false
		it.asks = it.limit.OnRedisError == Local
		local = local || it.asks
		if it.limit.OnRedisError == Closed && !it.limit.DryRun {
			o.allowed, o.unavailable = false, true
		}
		if !it.asks {
			c.observer.Decided(it.limit.Name, Failed, FromRedis)
		}
	}
	if o.unavailable || !local {
		return
	}
	c.countLocally()
	l.inMemory(o, FromLocal)
}

// conclude draws the sum of what the limits decided, reports it, and remembers
// denials.
func (l *Limiter) conclude(o *Outcome, r *Request) {
	c := l.counters
	now := c.clock()
	for i := range o.items {
		o.allowed = o.allowed && !o.items[i].vetoes()
	}
	for i := range o.items {
		it := &o.items[i]
		switch {
		case !it.decided:
		case it.vetoes():
			if !it.unsettled {
				c.denied.remember(it, now, c.hold(o.items), it.version)
			}
			l.noteDenial(it, r, now)
			c.observer.Decided(it.limit.Name, Denied, it.source)
		case !it.Allowed:
			c.noteDryRun(it, r)
			c.observer.Decided(it.limit.Name, DryRunDenied, it.source)
		case o.allowed:
			c.observer.Decided(it.limit.Name, Admitted, it.source)
		}
	}
}

// hold is how long a denial may be remembered. Where the limits of a request
// lie in several slots, one may deny for the sake of a reservation that is about
// to be refunded; where resets cannot be heard of, one may have come; and what was
// counted here during an outage ends with it. These are asked again after a second.
func (c *Counters) hold(items []item) time.Duration {
	if c.redis == nil {
		return MaxWindow
	}
	scattered := c.redis.cluster && slices.ContainsFunc(items, func(it item) bool { return it.tag != items[0].tag })
	if scattered || c.local.Load() || !c.listener.hears() {
		return time.Second
	}
	return MaxWindow
}

// noteDenial counts a denial towards a ban, and among the most denied.
func (l *Limiter) noteDenial(it *item, r *Request, now int64) {
	l.counters.top.note(it, r, now)
	if it.limit.Ban.After > 0 && !it.Banned && !it.unsettled {
		l.counters.bans.note(it, now)
	}
}

// noteDryRun logs, once a second at most, that a dry run would have denied.
func (c *Counters) noteDryRun(it *item, r *Request) {
	if c.seldom(&c.dryRun, time.Second) {
		c.log.Info("a dry run would have denied", "limit", it.limit.Name, "route", r.Route, "client", r.Addr)
	}
}

// canHold reports a limit whose counters are too large for the memory.
func (c *Counters) canHold(limits []*bound) error {
	var errs []error
	for _, b := range limits {
		most := b.Requests
		for _, v := range b.plans {
			most = max(most, v.requests)
		}
		if b.Algorithm == SlidingLog && slotBytes+16*most > c.memory.maxBytes {
			errs = append(errs, errors.New("limit \""+b.Name+"\": its log is too large for the memory given to counters; raise CountersOptions.MemoryBytes, lower its requests or use sliding_window"))
		}
	}
	return errors.Join(errs...)
}
