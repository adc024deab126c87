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
	of      uint64 // variant.denials; a ban is in force whatever it was
	retryAt int64  // microseconds of the counters' clock
	resetAt int64
	banned  bool
}

func newDenyCache(maxBytes int64) *denyCache {
	return &denyCache{entries: boundedmap.New[counterKey, denial](boundedmap.Options{MaxBytes: maxBytes})}
}

// find decides an item if the deny cache has a denial for it at now.
func (c *denyCache) find(it *item, now int64) bool {
	var d denial
	found := false
	if it.limit.bans() {
		d, found = c.entries.Get(it.banKey(), time.UnixMicro(now))
	}
	if !found {
		d, found = c.entries.Get(it.key, time.UnixMicro(now))
		found = found && d.of == it.variant.denials
	}
	if !found {
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
	key := it.key
	if it.Banned {
		key = it.banKey()
	}
	until := min(d.retryAt, now+hold.Microseconds())
	c.entries.Update(key, time.UnixMicro(now), func(old denial, ok bool) (denial, int, time.Time, bool) {
		switch {
		case c.version(key) != version: // the denial may no longer be true
			return old, 0, time.UnixMicro(old.retryAt), ok && old.banned
		case ok && old.banned && old.retryAt > d.retryAt:
			return old, 0, time.UnixMicro(old.retryAt), true // a ban outlasts a shorter one
		}
		return d, 0, time.UnixMicro(until), true
	})
}

// forget drops the entry of one key: it may no longer be true.
func (c *denyCache) forget(k counterKey) {
	c.changes[k.digest[0]].Add(1)
	c.entries.Delete(k)
}

func (c *denyCache) clear() {
	for i := range c.changes {
		c.changes[i].Add(1)
	}
	c.entries.Clear()
}
