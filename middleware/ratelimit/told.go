package ratelimit

import (
	"errors"
	"sync/atomic"

	"github.com/headgate/headgate/middleware/store"
	"github.com/redis/go-redis/v9"
)

// told is what Redis has said of a counter, after what the request has consumed.
type told struct {
	remaining int64
	reset     int64 // the instant of Decision.Reset, by this process' clock
	cost      int64 // what the request has consumed
}

// learn has the local counters agree with what Redis has just said of the items, so that this
// instance goes on from there if Redis does not answer. See traffic for its part of that.
func (c *Counters) learn(items []item) {
	now := c.clock()
	for i := range items {
		it := &items[i]
		if !it.decided || it.source != FromRedis || it.limit.OnRedisError != Local || it.leased() {
			continue
		}
		say := told{remaining: it.Remaining - c.reports.unsent(it.key), reset: now + it.Reset.Microseconds()}
		if it.charged {
			say.cost = it.limit.Cost
		}
		c.memory.learn(it, say, now)
	}
}

// learn has the counter of an item agree with what Redis says.
func (m *memory) learn(it *item, say told, now int64) {
	locked := m.lockOne(it.key)
	defer m.unlock(locked)
	v := &m.views(locked, 1)[0]
	s := m.shard(it.key)
	it.pure.view(v, &s.at(it.key).state, now)
	others := v.algorithm.agree(v, say)
	e := s.Add(it.limit.Name, it.key)
	e.Value.state = v.state
	e.Value.traffic = e.Value.traffic.admitted(&it.quota, now, say.cost, others)
	e.Expires, e.Rank = v.algorithm.expires(v), it.rank(say.remaining)
	// While Redis counts, a counter that does not fit is no loss that an operator must hear of.
	s.Wrote(e, counterBytes+v.bytes(), now, m.maxBytes.Load(), nil)
	v.log = nil
}

// locally has the counters of this process decide in the place of Redis, from what Redis last
// said. What they admit is reported to Redis once it is back, if cause, why Redis did not decide,
// means that it cannot have counted it. Of what counts by the response the report is made once
// that is known, unless final is set.
func (c *Counters) locally(items []item, peek bool, cause error, final bool) {
	from(items, FromLocal)
	c.memory.take(items, c.clock(), peek)
	var uncounted *atomic.Bool
	var admitted []item
	for i := range items {
		it := &items[i]
		if !it.charged || it.leased() {
			continue
		}
		if uncounted == nil {
			uncounted = new(atomic.Bool)
		}
		if it.uncounted = uncounted; final || !it.settles() {
			admitted = append(admitted, *it)
		}
	}
	if uncounted == nil {
		return // a denial: nothing was admitted
	}
	counted(cause, func(was bool) {
		uncounted.Store(!was)
		for i := range admitted {
			if !was {
				c.reports.add(&admitted[i], admitted[i].limit.Cost)
			}
		}
	})
}

// counted tells whether Redis may have counted what failed: after a time-out it is more likely
// slow than dead, and counts. It has not where nothing was sent, or where it replied an error.
func counted(cause error, then func(was bool)) {
	var reply redis.Error
	if errors.As(cause, &reply) {
		then(false)
		return
	}
	store.Sent(cause, then)
}

// settled reports what the response to a request has changed that was admitted locally.
func (c *Counters) settled(it *item) {
	switch {
	case it.uncounted == nil || !it.uncounted.Load():
	case it.settles():
		c.reports.add(it, it.limit.Cost+it.change)
	default:
		c.reports.add(it, it.change)
	}
}
