package ratelimit

import (
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/boundedmap"
)

// denyCache remembers, within this instance, who is over a limit, until they
// could next be admitted: an attack costs Redis nothing. It is bounded in
// bytes, and forgets first what would end first.
//
// What it says is never stale for long: it is keyed by the limit's identity, so
// that an edited limit is asked anew; a reset removes the entry here at once
// and, by a message, elsewhere; and while messages cannot be heard (see
// listener) entries are held for a second only.
type denyCache struct {
	entries *boundedmap.Map[counterKey, denial]
	// changes grow with every reset and give-back, by the key's first byte. Who
	// began a check before one must not remember its denial after.
	changes [256]atomic.Uint64
}

// version is to be read before a check begins, and given to remember.
func (c *denyCache) version(k counterKey) uint64 { return c.changes[k.digest[0]].Load() }

// denial is what is remembered: at RetryAt a request would be admitted.
type denial struct {
	of      uint64 // variant.denials
	retryAt int64  // microseconds of the counters' clock
	resetAt int64
	banned  bool
}

func newDenyCache(maxBytes int64) *denyCache {
	return &denyCache{entries: boundedmap.New[counterKey, denial](boundedmap.Options{MaxBytes: maxBytes})}
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
func (c *denyCache) remember(it *item, now int64, hold time.Duration, version uint64) {
	d := denial{
		of:      it.variant.denials,
		retryAt: now + it.RetryAfter.Microseconds(),
		resetAt: now + it.Reset.Microseconds(),
		banned:  it.Banned,
	}
	until := min(d.retryAt, now+hold.Microseconds())
	c.entries.Update(it.key, time.UnixMicro(now), func(old denial, ok bool) (denial, int, time.Time, bool) {
		switch {
		case c.version(it.key) != version: // it may no longer be true
			return old, 0, time.UnixMicro(old.retryAt), ok && old.banned
		case ok && old.of == d.of && old.banned && old.retryAt > d.retryAt:
			return old, 0, time.UnixMicro(old.retryAt), true // a ban outlasts what else is learnt
		}
		return d, 0, time.UnixMicro(until), true
	})
}

// forget drops what is remembered of one key.
func (c *denyCache) forget(k counterKey) {
	c.changes[k.digest[0]].Add(1)
	c.entries.Delete(k)
}

// released tells that something was given back: a denial, other than a ban's,
// may no longer be true.
func (c *denyCache) released(k counterKey, now int64) {
	c.changes[k.digest[0]].Add(1)
	c.entries.Update(k, time.UnixMicro(now), func(d denial, ok bool) (denial, int, time.Time, bool) {
		return d, 0, time.UnixMicro(d.retryAt), ok && d.banned
	})
}

func (c *denyCache) clear() {
	for i := range c.changes {
		c.changes[i].Add(1)
	}
	c.entries.Clear()
}
