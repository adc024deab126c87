package ratelimit

import (
	"context"
	"log/slog"
	"net/netip"
	"time"
)

// SetRedisClock replaces Redis' clock by the test's, in microseconds.
func (c *Counters) SetRedisClock(now func() int64) { c.redis.clock = now }

// HasFixedSize reports whether a counter takes as much memory for many requests
// as for few.
func (a Algorithm) HasFixedSize() bool { return a.line().bytesPerRequest == 0 }

// HeedsBurst reports whether limits of the algorithm may have a Burst.
func (a Algorithm) HeedsBurst() bool { return a.line().bursts }

// ForgetDenials empties the deny cache, so that the next check asks the counters.
func (c *Counters) ForgetDenials() { c.denied.clear() }

// MemorySize returns how many counters this process holds, and their memory.
func (c *Counters) MemorySize() (counters int, bytes int64) { return c.memory.size() }

// BareDecision is the memory backend's decision for one key.
type BareDecision struct {
	m     *memory
	items []item
}

func NewBareDecision(l Limit) (*BareDecision, error) {
	b, err := bind(l)
	if err != nil {
		return nil, err
	}
	it := item{limit: b, variant: &b.base, asks: true}
	it.key.limit = b.base.id
	it.key.digest, it.tag = digests(b.Key, &Request{Addr: netip.MustParseAddr("192.0.2.1")})
	return &BareDecision{m: newMemory(64<<20, newDrops(noObserver{}, slog.New(slog.DiscardHandler))), items: []item{it}}, nil
}

func (d *BareDecision) Take(now int64) bool {
	d.m.take(d.items, now, false)
	return d.items[0].Allowed
}

// HearsResets reports whether resets of other instances are heard of.
func (c *Counters) HearsResets() bool { return c.listener.hears() }

// StopListening cuts the instance off from others' resets.
func (c *Counters) StopListening() { c.listener.close() }

// DenialBytes returns the memory of what is remembered of denials, and of ban
// counts.
func (c *Counters) DenialBytes() (denied, bans int64) {
	return c.denied.entries.Bytes(), c.bans.counts.Bytes()
}

// MaxInLine is how many requests may wait for one counter.
const MaxInLine = maxInLine

// RenewLeases renews the leases of requests in flight, however young they are.
func (c *Counters) RenewLeases() { c.leases.renew(c.leases.due(time.Now().Add(time.Hour)), nil) }

// LeaseFor is how long a lease lasts unless it is renewed.
const LeaseFor = leaseFor

// LeasesHeld returns how many leases this process holds.
func (c *Counters) LeasesHeld() (n int) {
	for i := range c.leases.shards {
		s := &c.leases.shards[i]
		s.mu.Lock()
		for _, h := range s.held {
			n += len(h.ids)
		}
		s.mu.Unlock()
	}
	return n
}

// ReportsDue returns for how many keys Redis has to be told what was admitted while it was away.
func (c *Counters) ReportsDue() int64 { return c.reports.waiting.Load() }

// HoldReports keeps the instance from reporting by itself.
func (c *Counters) HoldReports() {
	c.reports.mu.Lock()
	defer c.reports.mu.Unlock()
	c.reports.running = true
}

// ReportUnheard sends what is due, as if Redis' replies were lost, and returns these.
func (c *Counters) ReportUnheard(ctx context.Context) (replies []int64, err error) {
	_, calls := c.reports.next()
	for _, call := range calls {
		if err := c.redis.redis.Do(ctx, call); err != nil {
			return nil, err
		}
		n, err := call.Int64()
		if err != nil {
			return nil, err
		}
		replies = append(replies, n)
	}
	return replies, nil
}
