package ratelimit

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/middleware/store"
)

// CountersOptions configures [NewCounters]. The zero value counts in memory.
type CountersOptions struct {
	// Redis holds the counters, for all instances together. Nil means that they
	// live in this process.
	Redis *store.Redis
	// MemoryBytes bounds the counters in this process: all of them without Redis, and
	// with it what Redis last said of them, from which an outage goes on. Each limit that has counters has an equal share of it,
	// and may take more while others leave theirs unused; counters of one limit never
	// push out those of another that takes its share at most. When it is full, counters
	// far from their limit are dropped first, and Observer and Logger are told. Zero means
	// 64 MiB, about 320,000 counters.
	MemoryBytes int64
	// DenyCacheBytes bounds what is remembered of denials and bans, and apart from it the
	// counts of denials that lead to bans, with shares as above. Zero means a quarter of
	// MemoryBytes.
	DenyCacheBytes int64
	// Now is the clock of this process, for tests and replays; nil means
	// time.Now. Redis counts by its own.
	Now func() time.Time
	// Observer is told of decisions and round trips, for metrics. Nil means none.
	Observer Observer
	// WaitObserver is told when a request begins to wait for reservations to be settled, and
	// how that has ended. It must not block. Nil means none.
	WaitObserver func(Wait)
	// SettleNext is for replays, on whose clock no time passes during a wait: it settles the
	// reservation that is due next, if it is due within MaxWait, and reports whether there was
	// one. Nil means that requests wait in real time.
	SettleNext func() bool
	// Logger is told what an operator should know: that Redis cannot be reached, bans,
	// denials by limits in dry run. Nil means no log.
	Logger *slog.Logger
}

// Counters is the state behind all limits of a process: the counters, in memory or
// in Redis, the deny cache and the bans. It outlives policies: a reload builds new Limiters over the same Counters.
// It is safe for concurrent use.
type Counters struct {
	now                            func() time.Time
	base                           time.Time
	memory                         *memory // the counters, or with Redis what it last said of them
	redis                          *redisCounters
	denied                         *denyCache
	leases                         *leases
	reports                        *reports // nil without Redis
	bans                           *bans
	top                            *topDenied
	banned                         *bannedKeys
	fleet                          *denials
	lines                          *lines
	waitObserver                   func(Wait)
	settleNext                     func() bool
	listener                       *listener
	observer                       Observer
	log                            *slog.Logger
	local                          atomic.Bool  // local counters are in use, and their denials must be dropped when Redis is back
	failed                         atomic.Int64 // when Redis last failed to decide, in Unix nanoseconds
	complained, dryRun, saidBanned atomic.Int64 // when such a thing was last logged
}

// NewCounters returns Counters; Close ends its background work. It does not
// wait for Redis.
func NewCounters(o CountersOptions) (*Counters, error) {
	if o.MemoryBytes < 0 || o.DenyCacheBytes < 0 {
		return nil, errors.New("ratelimit.NewCounters: MemoryBytes and DenyCacheBytes must not be negative; 0 means the default")
	}
	if o.MemoryBytes == 0 {
		o.MemoryBytes = 64 << 20
	}
	if o.DenyCacheBytes == 0 {
		o.DenyCacheBytes = denyCacheBytes(o.MemoryBytes)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Observer == nil {
		o.Observer = noObserver{}
	}
	if o.WaitObserver == nil {
		o.WaitObserver = func(Wait) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Counters{
		now:      o.Now,
		base:     o.Now(),
		top:      newTopDenied(),
		lines:    newLines(),
		observer: o.Observer,
		log:      o.Logger,

		waitObserver: o.WaitObserver, settleNext: o.SettleNext,
	}
	drops := newDrops(o.Observer, o.Logger)
	c.memory = newMemory(o.MemoryBytes, drops)
	banDropped := drops.note
	if o.Redis != nil {
		banDropped = nil // Redis has the bans, and the counts that lead to them
	}
	c.denied = newDenyCache(o.DenyCacheBytes, banDropped)
	c.banned, c.fleet = newBannedKeys(), newDenials(c)
	c.bans = newBans(c, o.DenyCacheBytes, banDropped)
	if o.Redis != nil {
		c.redis = newRedisCounters(o.Redis)
		c.reports = newReports(c)
	}
	c.leases = newLeases(c.redis)
	c.memory.leases = c.leases
	if o.Redis != nil {
		c.listener = listen(c)
		o.Redis.OnChange(func(available bool) {
			if available { // the breaker has closed; leaveLocal asks whether Redis has failed since
				time.AfterFunc(stableAfter, c.leaveLocal)
			}
		})
	}
	return c, nil
}

// denyCacheBytes is the default of CountersOptions.DenyCacheBytes.
func denyCacheBytes(memoryBytes int64) int64 { return max(memoryBytes/4, 1) }

// SetMemory changes CountersOptions.MemoryBytes, which must be positive, and gives
// DenyCacheBytes its default. What does not fit any more is dropped at once; the rest
// stays as it is.
func (c *Counters) SetMemory(bytes int64) {
	now := c.clock()
	c.memory.setMaxBytes(bytes, now)
	c.denied.entries.SetMaxBytes(denyCacheBytes(bytes), time.UnixMicro(now))
	c.bans.counts.SetMaxBytes(denyCacheBytes(bytes), time.UnixMicro(now))
}

// Memory is what the counters in this process take, in bytes, and may take.
func (c *Counters) Memory() (used, limit int64) {
	_, used = c.memory.size()
	return used, c.memory.maxBytes.Load() * shardCount
}

// Close ends the background work. Limiters may still be used, but instances no
// longer share bans, this one no longer receives resets, and no request waits.
func (c *Counters) Close() {
	c.lines.close()
	c.bans.close()
	c.leases.close()
	c.fleet.close()
	if c.redis != nil {
		c.reports.close()
		c.listener.close()
	}
}

// clock is the time in microseconds. It follows the monotonic clock, where Now has
// one, so that a step of the wall clock moves no window.
func (c *Counters) clock() int64 {
	return c.base.UnixMicro() + c.now().Sub(c.base).Microseconds()
}

// stableAfter is for how long Redis must not have failed before the denials of the local
// counters are dropped: a Redis may be back for a moment only, or reply and have no memory left
// to count in.
const stableAfter = time.Second

// countLocally notes that Redis failed to decide and this process does.
func (c *Counters) countLocally() {
	c.failed.Store(time.Now().UnixNano())
	c.local.Store(true)
}

// redisDecided notes that Redis decided.
func (c *Counters) redisDecided() {
	if c.local.Load() {
		c.leaveLocal()
	}
}

// leaveLocal drops the denials of the local counters if Redis is back. In a Cluster some
// masters may be away while others decide.
func (c *Counters) leaveLocal() {
	if !c.redis.redis.Available() || time.Now().UnixNano()-c.failed.Load() < int64(stableAfter) {
		return
	}
	if c.local.Swap(false) {
		c.denied.clear()
		c.log.Info("rate limits are counted in Redis again")
	}
}

// complain logs an error, at most once in ten seconds.
func (c *Counters) complain(message string, err error) {
	if c.seldom(&c.complained, 10*time.Second) {
		c.log.Warn(message, "error", err)
	}
}

// seldom reports whether it last returned true at least every ago, so that clients
// cannot fill the log.
func (c *Counters) seldom(last *atomic.Int64, every time.Duration) bool {
	now, then := c.clock(), last.Load()
	return now-then >= every.Microseconds() && last.CompareAndSwap(then, now)
}
