package ratelimit

import (
	"encoding/binary"
	"math"
	"math/bits"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/headgate/headgate/internal/boundedmap"
)

// memory keeps counters in this process: all of them where there is no Redis, and
// otherwise what Redis last said of them, which decides while Redis is away (told.go).
//
// It is bounded in bytes and sharded by the key's digest. A check locks the
// shards of all its limits, in ascending order, so that it is all-or-nothing
// without a deadlock; the limits of one client are mostly in one shard.
//
// Where a shard is full, a counter is dropped, and its client starts afresh: under a
// flood of keys, limits err on the side of admitting, and memory stays bounded. Limits
// that have counters share the memory equally, and one that takes its share at most
// loses none to the others (boundedmap.Shard). Among the counters of one limit, the one
// that is farthest from its limit goes first, and one that has denied a request last.
type memory struct {
	shards   [shardCount]memoryShard
	seed     uint64       // secret, so that no client can choose the shard that its keys fill
	maxBytes atomic.Int64 // per shard
	drops    *drops
	leases   *leases // what requests in flight are counted by
}

const (
	shardBits  = 6
	shardCount = 1 << shardBits // as many as a uint64 has bits: see lock
)

type memoryShard struct {
	mu sync.Mutex
	boundedmap.Shard[counterKey, storedCounter]
	views [4]view  // for the call that holds this lock as the first of its locks
	_     [64]byte // keeps neighbours' locks off this cache line
}

// storedCounter is a limit's counter for one key.
type storedCounter struct {
	state   state
	pending [3]int64 // a slidingWindow of reservations that are not yet settled
	traffic traffic  // with Redis: whose traffic the counter has counted
}

// counterBytes is what a counter takes, but for its log.
var counterBytes = boundedmap.Overhead[counterKey, storedCounter]()

func newMemory(maxBytes int64, d *drops) *memory {
	m := &memory{seed: rand.Uint64() | 1, drops: d}
	m.maxBytes.Store(perShard(maxBytes))
	return m
}

// perShard is a shard's part of so many bytes, in which a few counters fit in any case.
func perShard(maxBytes int64) int64 { return max(maxBytes/shardCount, 16*counterBytes) }

// setMaxBytes changes the bound, and drops at once what does not fit any more.
func (m *memory) setMaxBytes(n, now int64) {
	m.maxBytes.Store(perShard(n))
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		s.Trim(now, perShard(n), m.drops.note)
		s.mu.Unlock()
	}
	m.drops.report()
}

// shardOf hashes a key's digest by the seed.
func (m *memory) shardOf(k counterKey) uint64 {
	return binary.LittleEndian.Uint64(k.digest[:]) * m.seed >> (64 - shardBits)
}

func (m *memory) shard(k counterKey) *memoryShard { return &m.shards[m.shardOf(k)] }

// lock locks the shards of all items, each once, in ascending order.
func (m *memory) lock(items []item) (locked uint64) {
	for i := range items {
		locked |= 1 << m.shardOf(items[i].key)
	}
	for set := locked; set != 0; set &= set - 1 {
		m.shards[bits.TrailingZeros64(set)].mu.Lock()
	}
	return locked
}

// lockOne is lock for one key.
func (m *memory) lockOne(k counterKey) (locked uint64) {
	i := m.shardOf(k)
	m.shards[i].mu.Lock()
	return 1 << i
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
	m.decide(items, now, peek)
	m.drops.report()
}

func (m *memory) decide(items []item, now int64, peek bool) {
	locked := m.lock(items)
	defer m.unlock(locked)
	views := m.views(locked, len(items))

	admitted := true
	for i := range items {
		it := &items[i]
		it.charged = false
		if !it.asks {
			continue
		}
		counter := m.counter(it)
		v := &views[i]
		it.pure.view(v, &counter.state, now)
		if v.moved {
			counter.state = v.state
		}
		if it.settles() {
			if p, moved := within(it.pendingQuota(), pendingOf(counter.pending), now); moved {
				counter.pending = p.words()
			}
		}
		it.takes, it.carry = it.limit.Cost, 0
		if it.source == FromLocal {
			it.takes, it.carry = counter.traffic.scale(it.limit.Cost, v.capacity())
		}
		switch {
		case v.algorithm.fits(v, it.takes):
			it.status = fits
		case it.settles() && v.algorithm.fits(v, it.takes-unsettledCost(counter.pending, it.pendingQuota(), now)):
			it.status = unsettled
		default:
			it.status = exhausted
		}
		if it.status != fits && !it.limit.DryRun {
			admitted = false
		}
	}
	for i := range items {
		it, v := &items[i], &views[i]
		if !it.asks {
			continue
		}
		it.charged = admitted && it.status == fits && !peek
		if it.charged {
			it.mark = v.algorithm.admit(v, it.takes)
		}
		it.decide(v.decision(it.status == fits, it.takes))
		switch {
		case it.charged:
			it.pendingMark = m.save(it, v, now)
		case it.status == exhausted && !peek:
			m.shard(it.key).denied(it.key)
		}
		v.log = nil // the shard's views must not keep a log that is evicted
	}
}

// counter returns what an item is counted by, to be read.
func (m *memory) counter(it *item) *storedCounter {
	if !it.leased() {
		return m.shard(it.key).at(it.key)
	}
	return &storedCounter{state: state{words: [3]int64{m.leases.count(it.key)}}}
}

// settle ends reservations, and gives back those that do not count.
func (m *memory) settle(items []item, now int64) {
	locked := m.lock(items)
	defer m.unlock(locked)
	for i := range items {
		it := &items[i]
		if !it.charged || it.source == FromRedis {
			continue
		}
		if it.leased() {
			m.leases.remove(it.key, it.lease)
			continue
		}
		if it.change != 0 {
			m.change(it, &m.views(locked, 1)[0], now)
		}
		e := m.shard(it.key).Find(it.key)
		if e != nil && it.settles() {
			counter := &e.Value
			q := it.pendingQuota()
			p, moved := within(q, pendingOf(counter.pending), now)
			p, ok := p.at(q, now).giveBack(q, it.pendingMark, it.takes)
			if ok || moved {
				counter.pending = p.words()
			}
		}
	}
}

// change corrects what an item has consumed.
func (m *memory) change(it *item, v *view, now int64) {
	s := m.shard(it.key)
	it.pure.view(v, &s.at(it.key).state, now)
	changed := v.moved // what lay too far ahead counts from now, whether it is changed or not
	change := it.change
	if it.takes != it.limit.Cost { // in proportion
		change = change * it.takes / max(it.limit.Cost, 1)
	}
	if change < 0 {
		changed = v.algorithm.giveBack(v, it.mark, -change) || changed
	} else {
		changed = v.algorithm.charge(v, it.mark, change) || changed
	}
	if changed {
		e := s.Add(it.limit.Name, it.key) // the one that is there, or else a bucket's that was full again
		e.Value.state = v.state
		remaining, _ := v.algorithm.left(v)
		e.Expires, e.Rank = max(e.Expires, v.algorithm.expires(v)), it.rank(remaining)
		s.Wrote(e, counterBytes+v.bytes(), now, m.maxBytes.Load(), m.drops.note)
	}
	v.log = nil
}

// views returns memory for n views, which belongs to the call that has locked the
// shards. (On the stack it would not stay: the algorithms are called through an
// interface.)
func (m *memory) views(locked uint64, n int) []view {
	s := &m.shards[bits.TrailingZeros64(locked)]
	if n > len(s.views) {
		return make([]view, n)
	}
	return s.views[:n]
}

// reset forgets a counter.
func (m *memory) reset(k counterKey) {
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Remove(k)
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

// pendingAt brings the count of reservations forward to now.
func pendingAt(pending [3]int64, q *quota, now int64) slidingWindow {
	return pendingOf(pending).at(q, now)
}

func pendingOf(words [3]int64) slidingWindow {
	return slidingWindow{start: words[0], current: words[1], previous: words[2]}
}

func (s slidingWindow) words() [3]int64 { return [3]int64{s.start, s.current, s.previous} }

// unsettledCost is what is reserved and not yet settled.
func unsettledCost(pending [3]int64, q *quota, now int64) int64 {
	p := pendingAt(pending, q, now)
	return p.current + p.previous
}

// unused is the counter of a key that has none. It is never written.
var unused storedCounter

// at returns the key's counter, to be read. One that has expired counts nothing any
// more, but the memory of its log is used again.
func (s *memoryShard) at(k counterKey) *storedCounter {
	if e := s.Find(k); e != nil {
		return &e.Value
	}
	return &unused
}

// denied notes that the key's counter has denied a request.
func (s *memoryShard) denied(k counterKey) {
	if e := s.Find(k); e != nil {
		e.Rank = rankDenied
	}
}

// rankDenied is the rank of a counter that has denied a request since it last admitted one.
const rankDenied = math.MaxUint8

// rank is that of a counter with so much remaining: the nearer to its limit, the higher.
func (v *variant) rank(remaining int64) uint8 {
	return uint8((v.capacity() - max(remaining, 0)) * v.rankScale >> rankShift)
}

const rankShift = 32

// rankScale makes a rank below rankDenied, shifted by rankShift, of what is consumed of a capacity.
func rankScale(capacity int64) int64 { return (rankDenied - 1) << rankShift / max(capacity, 1) }

// save stores an admitted item's counter, and returns the mark of its reservation.
func (m *memory) save(it *item, v *view, now int64) (pendingMark int64) {
	if it.leased() {
		m.leases.add(it) // the shard's lock makes count and add one step
		return 0
	}
	s := m.shard(it.key)
	e := s.Add(it.limit.Name, it.key)
	counter := &e.Value
	counter.state = v.state
	e.Expires, e.Rank = v.algorithm.expires(v), it.rank(it.Remaining)
	if it.source == FromLocal {
		counter.traffic = counter.traffic.admitted(&it.quota, now, it.limit.Cost, it.takes-it.limit.Cost)
		counter.traffic.carry = it.carry
	}
	if it.settles() {
		q := it.pendingQuota()
		p, mark := pendingAt(counter.pending, q, now).admit(it.takes)
		counter.pending, pendingMark = p.words(), mark
		e.Expires = max(e.Expires, p.expires(q))
	}
	s.Wrote(e, counterBytes+v.bytes(), now, m.maxBytes.Load(), m.drops.note)
	return pendingMark
}
