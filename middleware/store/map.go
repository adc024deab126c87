package store

import (
	"errors"
	"hash/maphash"
	"sync"
	"time"
	"unsafe"
)

// MapOptions configures [NewMap].
type MapOptions struct {
	// MaxBytes bounds the memory of all entries together, their keys and
	// bookkeeping included, as estimated. Required.
	MaxBytes int64
	// Shards is how many independently locked parts there are, rounded up to a
	// power of two. Zero means 64.
	Shards int
}

// Map is an in-process map whose entries expire and whose memory is bounded.
//
// It is sharded, so that callers seldom wait for each other, and it never
// sweeps: each write looks at two further entries of its shard and drops them
// if they have expired, so expired entries go at the pace at which new ones
// come. Where a shard is full, the entry that would expire first among a few
// neighbours makes room.
//
// Time is the caller's, for tests and for replays. A Map is safe for concurrent use.
type Map[K comparable, V any] struct {
	seed     maphash.Seed
	shards   []shard[K, V]
	maxBytes int64 // per shard
	overhead int64 // per entry
}

type shard[K comparable, V any] struct {
	mu    sync.Mutex
	index map[K]int32
	slots []slot[K, V]
	hand  int // the slot that is looked at next
	bytes int64
	_     [64]byte // keeps neighbours' locks off this cache line
}

type slot[K comparable, V any] struct {
	key     K
	value   V
	expires int64 // Unix nanoseconds
	size    int64
}

// NewMap returns an empty map. It panics where MaxBytes is not positive.
func NewMap[K comparable, V any](o MapOptions) *Map[K, V] {
	if o.MaxBytes <= 0 {
		panic(errors.New("store.NewMap: MaxBytes must be positive"))
	}
	shards := 1
	for want := max(o.Shards, 1); shards < want || (o.Shards == 0 && shards < 64); {
		shards *= 2
	}
	var s slot[K, V]
	var k K
	m := &Map[K, V]{
		seed:     maphash.MakeSeed(),
		shards:   make([]shard[K, V], shards),
		maxBytes: max(o.MaxBytes/int64(shards), 1),
		// The slot, and the index entry at a Go map's usual load.
		overhead: int64(unsafe.Sizeof(s)) + 2*int64(unsafe.Sizeof(k)+4),
	}
	for i := range m.shards {
		m.shards[i].index = make(map[K]int32)
	}
	return m
}

func (m *Map[K, V]) shard(k K) *shard[K, V] {
	return &m.shards[maphash.Comparable(m.seed, k)&uint64(len(m.shards)-1)]
}

// Get returns the value of k if it has one that has not expired at now.
func (m *Map[K, V]) Get(k K, now time.Time) (V, bool) {
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.index[k]; ok && s.slots[i].expires > now.UnixNano() {
		return s.slots[i].value, true
	}
	var none V
	return none, false
}

// Update changes one entry under its shard's lock. fn gets the present value,
// or ok false where there is none or it has expired, and returns the new one,
// the bytes it holds beyond its own struct, and when it expires; keep false
// removes the entry instead. fn must not call the Map.
//
// An entry larger than a whole shard is not kept.
func (m *Map[K, V]) Update(k K, now time.Time, fn func(v V, ok bool) (nv V, size int, expires time.Time, keep bool)) {
	at := now.UnixNano()
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()

	var old V
	i, present := s.index[k]
	live := present && s.slots[i].expires > at
	if live {
		old = s.slots[i].value
	}
	value, size, expires, keep := fn(old, live)
	total := int64(size) + m.overhead
	if !keep || expires.UnixNano() <= at || total > m.maxBytes {
		if present {
			s.remove(i)
		}
		return
	}
	if present {
		s.bytes += total - s.slots[i].size
		s.slots[i] = slot[K, V]{key: k, value: value, expires: expires.UnixNano(), size: total}
	} else {
		s.index[k] = int32(len(s.slots))
		s.slots = append(s.slots, slot[K, V]{key: k, value: value, expires: expires.UnixNano(), size: total})
		s.bytes += total
	}
	s.forget(at)
	for s.bytes > m.maxBytes {
		s.evict(k)
	}
}

// Delete removes k.
func (m *Map[K, V]) Delete(k K) {
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.index[k]; ok {
		s.remove(i)
	}
}

// Clear removes everything.
func (m *Map[K, V]) Clear() {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		s.index, s.slots, s.hand, s.bytes = make(map[K]int32), nil, 0, 0
		s.mu.Unlock()
	}
}

// Len returns how many entries there are, expired ones that nothing has come
// across yet included.
func (m *Map[K, V]) Len() int {
	n := 0
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += len(s.slots)
		s.mu.Unlock()
	}
	return n
}

// Bytes returns the estimated memory of all entries.
func (m *Map[K, V]) Bytes() int64 {
	var n int64
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += s.bytes
		s.mu.Unlock()
	}
	return n
}

// remove takes the slot out and fills the gap with the last one.
func (s *shard[K, V]) remove(i int32) {
	last := int32(len(s.slots) - 1)
	s.bytes -= s.slots[i].size
	delete(s.index, s.slots[i].key)
	if i != last {
		s.slots[i] = s.slots[last]
		s.index[s.slots[i].key] = i
	}
	s.slots[last] = slot[K, V]{}
	s.slots = s.slots[:last]
}

// forget looks at the next two slots and drops them if they have expired.
func (s *shard[K, V]) forget(at int64) {
	for range 2 {
		if len(s.slots) == 0 {
			return
		}
		if s.hand >= len(s.slots) {
			s.hand = 0
		}
		if s.slots[s.hand].expires <= at {
			s.remove(int32(s.hand)) // another slot takes its place: the hand stays
		} else {
			s.hand++
		}
	}
}

// evict drops, of the next eight slots, the one that would expire first, but
// never keep, which was just written.
func (s *shard[K, V]) evict(keep K) {
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
	if victim < 0 { // keep is alone, and fits: Update has checked
		return
	}
	s.remove(int32(victim))
}
