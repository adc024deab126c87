package ratelimit

import (
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/boundedmap"
)

// denyCache keeps, in this instance, the keys that are over a limit until they could
// next be admitted, so that an attack costs Redis nothing. It is bounded in bytes,
// and drops first the entry that would end first.
//
// An entry is never stale for long: it is keyed by the limit's identity, so that an
// edited limit is checked afresh; an operator's reset removes the entry in this
// instance at once and in the others by a message; and while this instance receives
// no messages (see listener) it keeps entries for a second only.
type denyCache struct {
	entries *boundedmap.Map[counterKey, denial]
	// changes grow with every reset and give-back, by the key's first byte. A check
	// that began before one must not store its denial after it.
	changes [256]atomic.Uint64
}

// version is to be read before a check begins, and given to remember.
func (c *denyCache) version(k counterKey) uint64 { return c.changes[k.digest[0]].Load() }

// denial is an entry: at retryAt a request would be admitted.
type denial struct {
	of      uint64 // variant.denials
	retryAt int64  // microseconds of the counters' clock
	resetAt int64
	banned  bool
}

func newDenyCache(maxBytes int64) *denyCache {
	return &denyCache{entries: boundedmap.New[counterKey, denial](boundedmap.Options{MaxBytes: maxBytes})}
}

// find decides an item if the deny cache has a denial for it at now.
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

// remember stores an item's denial, for hold at most.
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
		case c.version(it.key) != version: // the denial may no longer be true
			return old, 0, time.UnixMicro(old.retryAt), ok && old.banned
		case ok && old.of == d.of && old.banned && old.retryAt > d.retryAt:
			return old, 0, time.UnixMicro(old.retryAt), true // a ban outlasts other denials
		}
		return d, 0, time.UnixMicro(until), true
	})
}

// forget drops the entry of one key.
func (c *denyCache) forget(k counterKey) {
	c.changes[k.digest[0]].Add(1)
	c.entries.Delete(k)
}

// released drops the denial of a key that was given something back, unless it is a
// ban: it may no longer be true.
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
