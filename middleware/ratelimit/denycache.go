package ratelimit

import (
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/middleware/store"
)

// denyCache remembers, within this instance, who is over a limit, until they could next be
// admitted: an attack costs Redis nothing. It is bounded in bytes, and
// forgets first what would end first.
//
// What it says is never stale for long: it is keyed by the limit's identity, so
// that an edited limit is asked anew; a reset removes the entry here at once
// and, by a message, elsewhere; and while messages cannot be heard (see
// listener) entries are held for a second only.
type denyCache struct {
	entries *store.Map[counterKey, denial]
	// resets grows with every reset. Who began a check before one must not
	// remember its denial after.
	resets atomic.Uint64
}

// denial is what is remembered: at RetryAt a request would be admitted.
type denial struct {
	of      uint64 // variant.denials
	retryAt int64  // microseconds of the counters' clock
	resetAt int64
	banned  bool
}

func newDenyCache(maxBytes int64) *denyCache {
	return &denyCache{entries: store.NewMap[counterKey, denial](store.MapOptions{MaxBytes: maxBytes})}
}

// find decides an item from memory, if it is known to be denied at now.
func (c *denyCache) find(it *item, now int64) bool {
	d, ok := c.entries.Get(it.key, time.UnixMicro(now))
	if !ok || d.of != it.variant.denials {
		return false
	}
	it.status, it.source = exhausted, FromDenyCache
	if d.banned {
		it.status = banned
	}
	it.decide(Decision{
		Limit:      it.capacity(),
		Reset:      micros(max(0, d.resetAt-now)),
		RetryAfter: micros(d.retryAt - now),
	})
	return true
}

// remember keeps an item's denial, for hold at most.
func (c *denyCache) remember(it *item, now int64, hold time.Duration, resets uint64) {
	d := denial{
		of:      it.variant.denials,
		retryAt: now + it.RetryAfter.Microseconds(),
		resetAt: now + it.Reset.Microseconds(),
		banned:  it.Banned,
	}
	until := min(d.retryAt, now+hold.Microseconds())
	c.entries.Update(it.key, time.UnixMicro(now), func(old denial, ok bool) (denial, int, time.Time, bool) {
		switch {
		case c.resets.Load() != resets: // it may have been reset meanwhile
			return old, 0, time.UnixMicro(until), false
		case ok && old.of == d.of && old.banned && old.retryAt > d.retryAt:
			return old, 0, time.UnixMicro(old.retryAt), true // a ban outlasts what else is learnt
		}
		return d, 0, time.UnixMicro(until), true
	})
}

// forget drops what is remembered of one key.
func (c *denyCache) forget(k counterKey) {
	c.resets.Add(1)
	c.entries.Delete(k)
}

func (c *denyCache) clear() {
	c.resets.Add(1)
	c.entries.Clear()
}
