package ratelimit

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/headgate/headgate/internal/boundedmap"
	"github.com/headgate/headgate/middleware/store"
	"github.com/redis/go-redis/v9"
)

// bans counts denials towards bans. It counts them in this process, as most
// denials never reach Redis, and flushes them to Redis at most once a second, so that
// all instances together ban a client that spreads its requests over them: check.lua
// looks for a ban before anything else. Denials during a ban do not prolong it. Counts and
// bans are kept by the limit's name and the key (item.banKey).
type bans struct {
	counters *Counters
	counts   *boundedmap.Map[counterKey, banCount]

	mu     sync.Mutex
	dirty  map[counterKey]*banFlush
	keys   map[uint64]int // in dirty, by the limit's banIdentity
	timer  *time.Timer
	closed bool
}

// banCount is how often a key was denied in the window that began at start.
type banCount struct {
	start int64
	n     int64
}

// banFlush is the denials of one key that are not yet flushed.
type banFlush struct {
	item   item
	values []listedValue
	n      int64
}

// maxFlush is how many keys of one limit a flush carries at most. Denials of further
// keys count in this instance alone.
const maxFlush = 4096

const flushEvery = time.Second

func newBans(c *Counters, maxBytes int64, dropped func(limit string)) *bans {
	return &bans{
		counters: c,
		counts:   boundedmap.New[counterKey, banCount](boundedmap.Options{MaxBytes: maxBytes, Dropped: dropped}),
		dirty:    make(map[counterKey]*banFlush),
		keys:     make(map[uint64]int),
	}
}

// note counts a denial, and begins the ban that it completes. That denial's
// Retry-After is then the ban's end.
func (b *bans) note(it *item, r *Request, now int64) {
	full := false
	b.counts.UpdateIn(it.limit.Name, it.banKey(), time.UnixMicro(now), func(c banCount, ok bool) (boundedmap.Kept[banCount], bool) {
		if !ok || now-c.start >= it.window {
			c = banCount{start: now}
		}
		c.n++
		full = c.n >= it.limit.Ban.After
		nearness := uint8(c.n * math.MaxUint8 / it.limit.Ban.After)
		return boundedmap.Kept[banCount]{Value: c, Expires: time.UnixMicro(c.start + it.window), Rank: nearness}, !full
	})
	if full {
		b.begin(it, appendListed(nil, it.limit.Key, r), it.limit.Ban.For, now, b.counters.denied.version(it.key))
		it.Decision = banDecision(it, it.limit.Ban.For)
	}
	if b.counters.redis != nil {
		b.share(it, r, full)
	}
}

// begin bans a key in this instance.
func (b *bans) begin(it *item, values []listedValue, d time.Duration, now int64, version uint64) {
	b.counters.banned.add(it, values, now+d.Microseconds(), now)
	b.counters.fleet.wake()
	ban := *it
	ban.Decision = banDecision(it, d)
	b.counters.denied.remember(&ban, now, d, version)
	if b.counters.seldom(&b.counters.saidBanned, time.Second) {
		b.counters.log.Info("banned", "limit", it.limit.Name, "key", it.key.digest, "for", d)
	}
}

// banDecision is what a limit says to a key that is banned for so long.
func banDecision(it *item, d time.Duration) Decision {
	return Decision{Limit: it.capacity(), Reset: d, RetryAfter: d, Banned: true}
}

// share adds a denial to the next flush, and schedules it.
func (b *bans) share(it *item, r *Request, full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	f := b.dirty[it.banKey()]
	if f == nil {
		if b.keys[it.variant.bans] >= maxFlush {
			return
		}
		b.keys[it.variant.bans]++
		f = &banFlush{item: *it, values: appendListed(nil, it.limit.Key, r)}
		b.dirty[it.banKey()] = f
	}
	f.n++
	if full { // this instance has banned the key already, whatever Redis has counted
		f.n = max(f.n, it.limit.Ban.After)
	}
	if b.timer == nil {
		b.timer = time.AfterFunc(flushEvery, b.flush)
	}
}

// flush adds the last second's denials to the counts in Redis, and begins here the
// bans that they complete.
func (b *bans) flush() {
	b.mu.Lock()
	dirty := b.dirty
	b.dirty, b.keys, b.timer = make(map[counterKey]*banFlush), make(map[uint64]int), nil
	b.mu.Unlock()

	c := b.counters
	var flushes []*banFlush
	var calls []*store.Call
	var cmds []redis.Cmder
	send := func() {
		if len(cmds) == 0 {
			return
		}
		if err := c.redis.redis.Do(context.Background(), cmds...); err != nil {
			c.complain("denials cannot be shared for bans", err)
		} else {
			b.learn(flushes, calls)
		}
		flushes, calls, cmds = nil, nil, nil
	}
	for _, f := range dirty {
		f.item.version = c.denied.version(f.item.key)
		key := c.redis.banKey(&f.item)
		call := c.redis.scripts.ban.Call([]string{key + denialsSuffix, key + banSuffix},
			f.n, f.item.limit.Ban.After, (f.item.window+999)/1000, f.item.limit.Ban.For.Milliseconds())
		flushes, calls, cmds = append(flushes, f), append(calls, call), append(cmds, call)
		if len(cmds) == 256 {
			send()
		}
	}
	send()
}

// learn begins here the bans that are in force in Redis.
func (b *bans) learn(flushes []*banFlush, calls []*store.Call) {
	now := b.counters.clock()
	for i, call := range calls {
		ms, err := call.Int64()
		if err != nil {
			b.counters.complain("denials cannot be shared for bans", err)
			continue
		}
		if it := &flushes[i].item; ms > 0 {
			b.begin(it, flushes[i].values, time.Duration(ms)*time.Millisecond, now, it.version)
		}
	}
}

// forget drops the denials of one key.
func (b *bans) forget(k counterKey) {
	b.counts.Delete(k)
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.dirty[k]; ok {
		delete(b.dirty, k)
		b.keys[k.limit]--
	}
}

func (b *bans) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
}
