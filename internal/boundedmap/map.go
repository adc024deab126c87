// Package boundedmap keeps things in this process for a while, in bounded memory: [Map] for anything, and [Shard], its
// part without a lock, for callers who lock several of them at once.
package boundedmap

import (
	"errors"
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Options configures [New].
type Options struct {
	// MaxBytes bounds the memory of all entries together, their keys and
	// bookkeeping included, as estimated. Required.
	MaxBytes int64
	// Shards is how many independently locked parts there are, rounded up to a
	// power of two. Zero means 64.
	Shards int
	// Dropped is called with the name of the part of each entry that makes room
	// before it has expired, under a lock: it must not call the Map. Nil is not called.
	Dropped func(part string)
}

// Map is an in-process map whose entries expire and whose memory is bounded.
//
// It is made of shards, so that callers seldom wait for each other. Where a shard
// is full, the entry that would expire first among a few neighbours makes room.
// Entries may be kept in parts ([Map.UpdateIn]), which share the memory equally.
//
// Time is the caller's, for tests and for replays. A Map is safe for concurrent use.
type Map[K comparable, V any] struct {
	seed     maphash.Seed
	shards   []lockedShard[K, V]
	maxBytes atomic.Int64 // per shard
	overhead int64        // per entry
	dropped  func(part string)
}

type lockedShard[K comparable, V any] struct {
	mu sync.Mutex
	Shard[K, V]
	_ [64]byte // keeps neighbours' locks off this cache line
}

// New returns an empty map. It panics where MaxBytes is not positive.
func New[K comparable, V any](o Options) *Map[K, V] {
	if o.MaxBytes <= 0 {
		panic(errors.New("boundedmap.New: MaxBytes must be positive"))
	}
	shards := 1
	for want := max(o.Shards, 1); shards < want || (o.Shards == 0 && shards < 64); {
		shards *= 2
	}
	m := &Map[K, V]{
		seed:     maphash.MakeSeed(),
		shards:   make([]lockedShard[K, V], shards),
		overhead: Overhead[K, V](),
		dropped:  o.Dropped,
	}
	m.maxBytes.Store(max(o.MaxBytes/int64(shards), 1))
	return m
}

// SetMaxBytes changes Options.MaxBytes, and drops at once what does not fit any more.
func (m *Map[K, V]) SetMaxBytes(n int64, now time.Time) {
	perShard := max(n/int64(len(m.shards)), 1)
	m.maxBytes.Store(perShard)
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		s.Trim(now.UnixNano(), perShard, m.dropped)
		s.mu.Unlock()
	}
}

func (m *Map[K, V]) shard(k K) *lockedShard[K, V] {
	return &m.shards[maphash.Comparable(m.seed, k)&uint64(len(m.shards)-1)]
}

// Get returns the value of k if it has one that has not expired at now.
func (m *Map[K, V]) Get(k K, now time.Time) (V, bool) {
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.Find(k); e != nil && e.Expires > now.UnixNano() {
		return e.Value, true
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
	m.UpdateIn("", k, now, func(v V, ok bool) (kept Kept[V], keep bool) {
		kept.Value, kept.Size, kept.Expires, keep = fn(v, ok)
		return kept, keep
	})
}

// Kept is an entry as [Map.UpdateIn] is to keep it.
type Kept[V any] struct {
	Value   V
	Size    int // bytes that Value holds beyond its own struct
	Expires time.Time
	Rank    uint8 // entries of a lower rank make room before it
}

// UpdateIn is Update, and keeps a new entry in the named part: entries of one part never
// push out those of another that takes its share of the memory at most.
func (m *Map[K, V]) UpdateIn(part string, k K, now time.Time, fn func(v V, ok bool) (kept Kept[V], keep bool)) {
	at := now.UnixNano()
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()

	var old V
	e := s.Find(k)
	live := e != nil && e.Expires > at
	if live {
		old = e.Value
	}
	kept, keep := fn(old, live)
	expires, total := kept.Expires.UnixNano(), int64(kept.Size)+m.overhead
	maxBytes := m.maxBytes.Load()
	if !keep || expires <= at || total > min(maxBytes, math.MaxUint32) {
		s.Remove(k)
		return
	}
	if e == nil {
		e = s.Add(part, k)
	}
	e.Value, e.Expires, e.Rank = kept.Value, expires, kept.Rank
	s.Wrote(e, total, at, maxBytes, m.dropped)
}

// Delete removes k.
func (m *Map[K, V]) Delete(k K) {
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Remove(k)
}

// Clear removes everything.
func (m *Map[K, V]) Clear() {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		s.Shard = Shard[K, V]{}
		s.mu.Unlock()
	}
}

// Len returns how many entries there are, expired ones that no write has come
// across yet included.
func (m *Map[K, V]) Len() int {
	n := 0
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += s.Shard.Len()
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
		n += s.Shard.Bytes()
		s.mu.Unlock()
	}
	return n
}
