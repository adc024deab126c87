package ratelimit

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/boundedmap"
)

// denyCache keeps, in this instance, the keys that are over a limit until they could
// next be admitted, so that an attack costs Redis nothing. It is bounded in bytes. Each
// limit's denials, and its bans, have shares of their own, within which the entry that
// would end first is dropped first.
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

// newDenyCache returns an empty deny cache. banDropped is told of bans that were dropped
// for want of memory; nil is not called.
func newDenyCache(maxBytes int64, banDropped func(limit string)) *denyCache {
	o := boundedmap.Options{MaxBytes: maxBytes}
	if banDropped != nil {
		o.Dropped = func(part string) {
			if limit, ok := strings.CutSuffix(part, bansPart); ok {
				banDropped(limit)
			}
		}
	}
	return &denyCache{entries: boundedmap.New[counterKey, denial](o)}
}

// bansPart is what the part of a limit's bans is called, behind the limit's name.
const bansPart = " bans"

// find decides an item if the deny cache has a denial for it at now.
func (c *denyCache) find(it *item, now int64) bool {
	if it.leased() {
		return false
	}
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
	if it.leased() { // a request in flight may end at any moment
		return
	}
	d := denial{
		of:      it.variant.denials,
		retryAt: now + it.RetryAfter.Microseconds(),
		resetAt: now + it.Reset.Microseconds(),
		banned:  it.Banned,
	}
	key, part := it.key, it.limit.Name
	if it.Banned {
		key, part = it.banKey(), part+bansPart
	}
	until := min(d.retryAt, now+hold.Microseconds())
	c.entries.UpdateIn(part, key, time.UnixMicro(now), func(old denial, ok bool) (boundedmap.Kept[denial], bool) {
		switch {
		case c.version(key) != version: // the denial may no longer be true
			return boundedmap.Kept[denial]{Value: old, Expires: time.UnixMicro(old.retryAt)}, ok && old.banned
		case ok && old.banned && old.retryAt > d.retryAt:
			return boundedmap.Kept[denial]{Value: old, Expires: time.UnixMicro(old.retryAt)}, true // a ban outlasts a shorter one
		}
		return boundedmap.Kept[denial]{Value: d, Expires: time.UnixMicro(until)}, true
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
