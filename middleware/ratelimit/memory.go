package ratelimit

import (
	"math/bits"
	"sync"
	"unsafe"
)

// memory keeps counters in this process: all of them where there is no Redis,
// and the local ones while Redis is away.
//
// It is bounded in bytes and sharded by the key's digest. A check locks the
// shards of all its limits, in ascending order, so that it is all-or-nothing
// without a deadlock; the limits of one client are mostly in one shard. Nothing
// is ever swept: each write looks at two more counters of its shard, and drops
// those that have expired.
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
	mu    sync.Mutex
	index map[counterKey]int32
	slots []memorySlot
	hand  int // the slot that is looked at next
	bytes int64
	_     [64]byte // keeps neighbours' locks off this cache line
}

type memorySlot struct {
	key     counterKey
	counter state
	pending [3]int64 // a slidingWindow of reservations that are not yet settled
	expires int64
}

// slotBytes is what a counter takes: its slot, and its entry in the index at a
// Go map's usual load.
const slotBytes = int64(unsafe.Sizeof(memorySlot{}) + 2*(unsafe.Sizeof(counterKey{})+4))

func newMemory(maxBytes int64) *memory {
	m := &memory{maxBytes: max(maxBytes/shardCount, 16*slotBytes)}
	for i := range m.shards {
		m.shards[i].index = make(map[counterKey]int32)
	}
	return m
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
		s := m.shard(it.key)
		n, ok := s.index[it.key]
		if !ok {
			continue
		}
		slot := &s.slots[n]
		if it.back {
			v := it.pure.look(slot.counter, now)
			if v.giveBack(it.mark, it.limit.Cost) {
				slot.counter = v.state
			}
		}
		if it.settles() {
			q := it.pendingQuota()
			p, ok := state{words: slot.pending}.sliding(0).at(q, now).giveBack(q, it.pendingMark, it.limit.Cost)
			if ok {
				slot.pending = ofSliding(p).words
			}
		}
	}
}

// reset forgets counters.
func (m *memory) reset(k counterKey) {
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.index[k]; ok {
		s.remove(i)
	}
}

func (m *memory) clear() {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		s.index, s.slots, s.hand, s.bytes = make(map[counterKey]int32), nil, 0, 0
		s.mu.Unlock()
	}
}

// size returns how many counters there are, and their memory as estimated.
func (m *memory) size() (counters int, bytes int64) {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		counters += len(s.slots)
		bytes += s.bytes
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
	if i, ok := s.index[k]; ok && s.slots[i].expires > now {
		return s.slots[i].counter, s.slots[i].pending
	}
	return state{}, pending
}

// save stores an admitted item's counter, and returns the mark of its reservation.
func (s *memoryShard) save(it *item, v *view, now, maxBytes int64) (pendingMark int64) {
	i, ok := s.index[it.key]
	if !ok {
		i = int32(len(s.slots))
		s.index[it.key] = i
		s.slots = append(s.slots, memorySlot{key: it.key})
		s.bytes += slotBytes
	}
	slot := &s.slots[i]
	s.bytes += int64(v.log.bytes() - slot.counter.log.bytes())
	slot.counter = v.state
	slot.expires = v.expires()
	if it.settles() {
		q := it.pendingQuota()
		p := state{words: slot.pending}.sliding(0).at(q, now).admit(it.limit.Cost)
		slot.pending, pendingMark = ofSliding(p).words, p.start
		slot.expires = max(slot.expires, p.start+2*q.window)
	}
	s.forget(now)
	for s.bytes > maxBytes && s.evict(it.key) {
	}
	return pendingMark
}

// forget looks at the next two slots, and drops them if they have expired.
func (s *memoryShard) forget(now int64) {
	for range min(2, len(s.slots)) {
		if s.hand >= len(s.slots) {
			s.hand = 0
		}
		if s.slots[s.hand].expires <= now {
			s.remove(int32(s.hand)) // another slot takes its place: the hand stays
		} else {
			s.hand++
		}
	}
}

// evict drops, of the next eight slots, the one that would expire first, but
// never keep, which was just written.
func (s *memoryShard) evict(keep counterKey) bool {
	victim := -1
	for range min(8, len(s.slots)) {
		if s.hand >= len(s.slots) {
			s.hand = 0
		}
		if s.slots[s.hand].key != keep && (victim < 0 || s.slots[s.hand].expires < s.slots[victim].expires) {
			victim = s.hand
		}
		s.hand++
	}
	if victim < 0 {
		return false
	}
	s.remove(int32(victim))
	return true
}

// remove takes the slot out, and fills the gap with the last one.
func (s *memoryShard) remove(i int32) {
	last := int32(len(s.slots) - 1)
	s.bytes -= slotBytes + int64(s.slots[i].counter.log.bytes())
	delete(s.index, s.slots[i].key)
	if i != last {
		s.slots[i] = s.slots[last]
		s.index[s.slots[i].key] = i
	}
	s.slots[last] = memorySlot{}
	s.slots = s.slots[:last]
}
