package boundedmap

import "unsafe"

// Shard is a map whose entries expire and whose memory is bounded by its caller, who also locks it. It never
// sweeps: each write looks at two further entries and drops them if they have expired, so expired entries go at the
// pace at which new ones come. The zero value is an empty one.
//
// Time is a number in the caller's unit.
type Shard[K comparable, V any] struct {
	index   map[K]int32
	entries []Entry[K, V]
	hand    int // the entry that is looked at next
	bytes   int64
}

// Entry is one key with its value. A pointer to it is valid until the shard's next change.
type Entry[K comparable, V any] struct {
	key     K
	Value   V
	Expires int64
	size    int64
}

// Overhead is what an entry takes beyond what its value points to, in bytes: the entry itself, and its place in the
// index at a Go map's usual load.
func Overhead[K comparable, V any]() int64 {
	var e Entry[K, V]
	var k K
	return int64(unsafe.Sizeof(e)) + 2*int64(unsafe.Sizeof(k)+4)
}

// Find returns the entry of k, expired or not; nil where there is none.
func (s *Shard[K, V]) Find(k K) *Entry[K, V] {
	if i, ok := s.index[k]; ok {
		return &s.entries[i]
	}
	return nil
}

// Add returns the entry of k, and makes one where there is none. The caller fills it in and calls Wrote.
func (s *Shard[K, V]) Add(k K) *Entry[K, V] {
	if e := s.Find(k); e != nil {
		return e
	}
	if s.index == nil {
		s.index = make(map[K]int32)
	}
	s.index[k] = int32(len(s.entries))
	s.entries = append(s.entries, Entry[K, V]{key: k})
	return &s.entries[len(s.entries)-1]
}

// Wrote accounts for an entry that was changed and now takes size bytes. It drops some of what has expired,
// and then, of what would expire first, as much as is needed to stay within maxBytes; the entry itself stays.
func (s *Shard[K, V]) Wrote(e *Entry[K, V], size, now, maxBytes int64) {
	k := e.key
	s.bytes += size - e.size
	e.size = size
	s.dropExpired(now)
	for s.bytes > maxBytes && s.evict(k) {
	}
}

// Remove removes k.
func (s *Shard[K, V]) Remove(k K) {
	if i, ok := s.index[k]; ok {
		s.removeAt(i)
	}
}

// Len returns how many entries there are, expired ones that no write has come across yet included.
func (s *Shard[K, V]) Len() int { return len(s.entries) }

// Bytes returns the memory of all entries, as accounted for.
func (s *Shard[K, V]) Bytes() int64 { return s.bytes }

// removeAt takes an entry out and fills the gap with the last one.
func (s *Shard[K, V]) removeAt(i int32) {
	last := int32(len(s.entries) - 1)
	s.bytes -= s.entries[i].size
	delete(s.index, s.entries[i].key)
	if i != last {
		s.entries[i] = s.entries[last]
		s.index[s.entries[i].key] = i
	}
	s.entries[last] = Entry[K, V]{}
	s.entries = s.entries[:last]
}

// dropExpired looks at the next two entries, and drops them if they have expired.
func (s *Shard[K, V]) dropExpired(now int64) {
	for range min(2, len(s.entries)) {
		if s.hand >= len(s.entries) {
			s.hand = 0
		}
		if s.entries[s.hand].Expires <= now {
			s.removeAt(int32(s.hand)) // another entry takes its place: the hand stays
		} else {
			s.hand++
		}
	}
}

// evict drops, of the next eight entries, the one that would expire first, but never keep, which was just written. It
// is false where there is no other one.
func (s *Shard[K, V]) evict(keep K) bool {
	victim := -1
	for range min(8, len(s.entries)) {
		if s.hand >= len(s.entries) {
			s.hand = 0
		}
		if s.entries[s.hand].key != keep && (victim < 0 || s.entries[s.hand].Expires < s.entries[victim].Expires) {
			victim = s.hand
		}
		s.hand++
	}
	if victim < 0 {
		return false
	}
	s.removeAt(int32(victim))
	return true
}
