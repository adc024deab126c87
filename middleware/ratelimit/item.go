package ratelimit

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/problem"
)

// bound is a limit as a Limiter holds it, with everything that can be computed
// before a request comes.
type bound struct {
	Limit
	base         variant
	plans        map[string]*variant
	sameKeyAs    int // the first limit of the Limiter with the same key: one digest serves both
	needsSession bool
	byAccount    bool // it is asked when the app has answered, by CheckAttempt
	reserves     bool // a request counts only by its response, and is reserved until then
}

// variant is a limit at one size: the limit's own, or a plan's.
type variant struct {
	pure
	id      uint64 // of its counters
	denials uint64 // of its entries in the deny cache
	bans    uint64 // of its bans, whatever its size
	plan    string // whose size it is; empty: the limit's own
	redis   string // its part of a Redis key
	args    []any  // as check.lua takes them
	needs   needs  // what its scripts must contain
	header  fieldItem
	reason  string                 // of a closed limit's denials
	refusal *httpx.RenderedProblem // these

	rankScale int64
}

func bind(l Limit) (*bound, error) {
	l.SetDefaults()
	if err := problem.Error(fmt.Sprintf("limit %q", l.Name), l.Validate()); err != nil {
		return nil, err
	}
	l.Key = slices.Clone(l.Key)
	l.Allow = slices.Clone(l.Allow)
	b := &bound{Limit: l, plans: make(map[string]*variant, len(l.Plans))}
	b.base = l.variant(l.size())
	b.base.close(l.Name, "")
	for plan, requests := range l.Plans {
		v := l.variant(requests)
		v.close(l.Name, plan)
		v.plan = plan
		b.plans[plan] = &v
	}
	b.byAccount, b.reserves = l.ByAccount(), l.reserves()
	b.needsSession = slices.ContainsFunc(l.Key, KeyPart.NeedsSession)
	return b, nil
}

// bindAll compiles the limits of one Limiter.
func bindAll(limits []Limit) ([]*bound, error) {
	if len(limits) > MaxLimits {
		return nil, fmt.Errorf("%d limits apply at once; at most %d may", len(limits), MaxLimits)
	}
	var all []*bound
	var errs []error
	for i, l := range limits {
		b, err := bind(l)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		b.sameKeyAs = i
		for j, earlier := range all {
			if earlier.Name == l.Name {
				errs = append(errs, fmt.Errorf("limit %q is listed twice; remove one", l.Name))
			}
			if slices.Equal(earlier.Key, b.Key) {
				b.sameKeyAs = min(b.sameKeyAs, j)
			}
		}
		all = append(all, b)
	}
	return all, errors.Join(errs...)
}

func (l Limit) variant(requests int64) variant {
	q := l.quota(requests)
	counts := l.line().forRequests(requests)
	flags := ""
	if l.DryRun {
		flags += "d"
	}
	if l.reserves() {
		flags += "s"
	}
	if l.bans() {
		flags += "b"
	}
	id := l.identity(q)
	return variant{
		pure:    pure{algorithm: counts, quota: q},
		id:      id,
		denials: l.denialIdentity(q),
		bans:    l.banIdentity(),
		redis:   fmt.Sprintf("%s:%016x", l.Name, id),
		needs:   needsOf(counts, l.reserves(), l.bans()),
		args:    []any{string(counts.word), q.requests, q.window, q.burst, l.Cost, flags},
		header:  newFieldItem(l, q),

		rankScale: rankScale(q.capacity()),
	}
}

// close prepares the denials of a limit of zero requests.
func (v *variant) close(limit, plan string) {
	if v.requests == 0 {
		v.reason = closedReason(limit, plan)
		v.refusal = closedBody(v.reason)
	}
}

// mostBytes is the memory that a counter of the variant can take.
func (v *variant) mostBytes() int64 { return counterBytes + v.algorithm.bytesPerRequest*v.requests }

// mostBytes is the memory that a counter of the limit can take, at any of its sizes.
func (b *bound) mostBytes() int64 {
	most := b.base.mostBytes()
	for _, v := range b.plans {
		most = max(most, v.mostBytes())
	}
	return most
}

// LeastMemory returns the least CountersOptions.MemoryBytes in which a counter of the
// limit fits, or all that is wrong with the limit.
func (l Limit) LeastMemory() (int64, error) {
	b, err := bind(l)
	if err != nil {
		return 0, err
	}
	return b.mostBytes() * shardCount, nil
}

// sizeFor returns the limit's size for the first of the plans that it has a number for. The empty plan is none.
func (b *bound) sizeFor(plans ...string) *variant {
	if len(b.plans) > 0 {
		for _, plan := range plans {
			if v, ok := b.plans[plan]; ok && plan != "" {
				return v
			}
		}
	}
	return &b.base
}

// sizedBySession reports whether the limit's size depends on the session of a client on this plan.
func (b *bound) sizedBySession(plan string) bool {
	return len(b.plans) > 0 && (plan == "" || b.plans[plan] == nil)
}

func (b *bound) allows(a netip.Addr) bool {
	for _, p := range b.Allow {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// status is what a limit decided, in check.lua's numbers.
type status uint8

const (
	exhausted status = iota
	fits
	unsettled // exhausted, but only with the reservations that are not settled yet
	banned
)

// item is one limit's part in the check of one request.
type item struct {
	Decision
	*variant
	limit *bound
	key   counterKey
	tag   digest

	version uint64 // of the key in the deny cache, before the check
	asks    bool   // the backend is to decide it
	decided bool
	status  status
	source  Source

	lease uint64 // the ID of the request's lease, where the limit has leases
	held  bool   // the request holds it

	charged           bool         // its cost was consumed
	uncounted         *atomic.Bool // consumed in this process: whether Redis cannot have counted it
	takes             int64        // the cost as this process counts it: more than the limit's where it has but a part of the traffic
	carry             float32
	change            int64 // settle: what is added to it; less than 0 is given back
	mark, pendingMark int64 // where settle finds it
}

// banKey is where the key's ban lives: it belongs to the limit's name and the key, so that
// a limit that is edited frees no banned client.
func (it *item) banKey() counterKey { return counterKey{it.variant.bans, it.key.digest} }

// leased reports whether the limit counts requests in flight, by their leases.
func (it *item) leased() bool { return it.variant.algorithm.leases }

// settles reports whether the request counts only by its response.
func (it *item) settles() bool { return it.limit.reserves }

// pendingQuota is the window in which unsettled reservations are counted: at most a
// minute, so that those of an instance that has crashed are soon forgotten.
func (it *item) pendingQuota() *quota {
	return &quota{window: min(it.window, time.Minute.Microseconds())}
}

// decide sets the backend's decision.
func (it *item) decide(d Decision) {
	switch it.status {
	case unsettled:
		d.Unsettled = true
		d.RetryAfter = time.Second
	case banned:
		d.Banned = true
	}
	it.Decision = d
	it.decided = true
}

// vetoes reports whether the item denies the request.
func (it *item) vetoes() bool { return it.decided && !it.Allowed && !it.limit.DryRun }
