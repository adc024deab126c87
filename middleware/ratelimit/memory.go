package ratelimit

import (
	"math/bits"
	"sync"

	"github.com/headgate/headgate/internal/boundedmap"
)

// memory keeps counters in this process: all of them where there is no Redis,
// and the local ones while Redis is away.
//
// It is bounded in bytes and sharded by the key's digest. A check locks the
// shards of all its limits, in ascending order, so that it is all-or-nothing
// without a deadlock; the limits of one client are mostly in one shard.
//
// Where a shard is full, the counter that would expire first among a few
// neighbours goes, and its client starts afresh: under a flood of keys, limits
// err on the side of admitting, and memory stays bounded.
type memory struct {
	shards   [shardCount]memoryShard
	maxBytes int64 // per shard
}

const shardCount = 64 // as many as a uint64 has bits: see lock

type memoryShard struct {
	mu sync.Mutex
	boundedmap.Shard[counterKey, storedCounter]
	_ [64]byte // keeps neighbours' locks off this cache line
}

// storedCounter is a limit's counter for one key.
type storedCounter struct {
	state   state
	pending [3]int64 // a slidingWindow of reservations that are not yet settled
}

// counterBytes is what a counter takes, but for its log.
var counterBytes = boundedmap.Overhead[counterKey, storedCounter]()

func newMemory(maxBytes int64) *memory {
	return &memory{maxBytes: max(maxBytes/shardCount, 16*counterBytes)}
}

func (m *memory) shard(k counterKey) *memoryShard { return &m.shards[k.digest[0]%shardCount] }

// lock locks the shards of all items, each once, in ascending order.
func (m *memory) lock(items []item) (locked uint64) {
	for i := range items {
		locked |= 1 << (items[i].key.digest[0] % shardCount)
	}
	for set := locked; set != 0; set &= set - 1 {
		m.shards[bits.TrailingZeros64(set)].mu.Lock()
	}
	return locked
}

func (m *memory) unlock(locked uint64) {
	for ; locked != 0; locked &= locked - 1 {
		m.shards[bits.TrailingZeros64(locked)].mu.Unlock()
	}
}

// take decides the items that ask, all or nothing, and says so in them;
// lua/check.lua does the same in Redis. With peek nothing is consumed in any
// case. It allocates nothing for up to four items, but a log's growth.
func (m *memory) take(items []item, now int64, peek bool) {
	var space [4]view
	views := space[:0]
	if len(items) > len(space) {
		views = make([]view, 0, len(items))
	}
	views = views[:len(items)]

	defer m.unlock(m.lock(items))

	admitted := true
	for i := range items {
		it := &items[i]
		it.charged = false
		if !it.asks {
			continue
		}
		counter, pending := m.shard(it.key).load(it.key, now)
		views[i] = it.pure.look(counter, now)
		switch {
		case views[i].fits(it.limit.Cost):
			it.status = fits
		case it.settles() && views[i].fits(it.limit.Cost-unsettledCost(pending, it.pendingQuota(), now)):
			it.status = unsettled
		default:
			it.status = exhausted
		}
		if it.status != fits && !it.limit.DryRun {
			admitted = false
		}
	}
	for i := range items {
		it := &items[i]
		if !it.asks {
			continue
		}
		if admitted && it.status == fits && !peek {
			it.charged = true
			it.mark = views[i].admit(it.limit.Cost)
			it.pendingMark = m.shard(it.key).save(it, &views[i], now, m.maxBytes)
		}
		it.decide(views[i].decision(it.status == fits, it.limit.Cost))
	}
}

// settle ends reservations: give back, or merely note that they were answered.
func (m *memory) settle(items []item, now int64) {
	defer m.unlock(m.lock(items))
	for i := range items {
		it := &items[i]
		if !it.charged {
			continue
		}
		e := m.shard(it.key).Find(it.key)
		if e == nil {
			continue
		}
		counter := &e.Value
		if it.back {
			v := it.pure.look(counter.state, now)
			if v.giveBack(it.mark, it.limit.Cost) {
				counter.state = v.state
			}
		}
		if it.settles() {
			q := it.pendingQuota()
			p, ok := state{words: counter.pending}.sliding(0).at(q, now).giveBack(q, it.pendingMark, it.limit.Cost)
			if ok {
				counter.pending = ofSliding(p).words
			}
		}
	}
}

// reset forgets counters.
func (m *memory) reset(k counterKey) {
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Remove(k)
}

func (m *memory) clear() {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		s.Shard = boundedmap.Shard[counterKey, storedCounter]{}
		s.mu.Unlock()
	}
}

// size returns how many counters there are, and their memory as estimated.
func (m *memory) size() (counters int, bytes int64) {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		counters += s.Len()
		bytes += s.Bytes()
		s.mu.Unlock()
	}
	return counters, bytes
}

// unsettledCost is what is reserved and not yet answered.
func unsettledCost(pending [3]int64, q quota, now int64) int64 {
	p := state{words: pending}.sliding(0).at(q, now)
	return p.current + p.previous
}

func (s *memoryShard) load(k counterKey, now int64) (counter state, pending [3]int64) {
	if e := s.Find(k); e != nil && e.Expires > now {
		return e.Value.state, e.Value.pending
	}
	return state{}, pending
}

// save stores an admitted item's counter, and returns the mark of its reservation.
func (s *memoryShard) save(it *item, v *view, now, maxBytes int64) (pendingMark int64) {
	e := s.Add(it.key)
	counter := &e.Value
	counter.state = v.state
	e.Expires = v.expires()
	if it.settles() {
		q := it.pendingQuota()
		p := state{words: counter.pending}.sliding(0).at(q, now).admit(it.limit.Cost)
		counter.pending, pendingMark = ofSliding(p).words, p.start
		e.Expires = max(e.Expires, p.start+2*q.window)
	}
	s.Wrote(e, counterBytes+int64(v.log.bytes()), now, maxBytes)
	return pendingMark
}
