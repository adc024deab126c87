package boundedmap

import "unsafe"

// Shard is a map whose entries expire and whose memory is bounded by its caller, who also locks it. It never
// sweeps: each write looks at two further entries and drops them if they have expired, so expired entries go at the
// pace at which new ones come. The zero value is an empty one.
//
// Its entries belong to parts, which the caller names, and which have equal shares of the memory: see makeRoom. A part
// without entries takes nothing.
//
// Time is a number in the caller's unit.
type Shard[K comparable, V any] struct {
	index   map[K]int32
	entries []Entry[K, V]
	hand    int // the entry that is looked at next for whether it has expired
	bytes   int64
	parts   parts
}

// Entry is one key with its value. A pointer to it is valid until the shard's next change.
type Entry[K comparable, V any] struct {
	key     K
	Value   V
	Expires int64
	size    uint32
	prev    int32 // in the ring of its part's entries
	next    int32
	part    uint16
	// Rank says which entries of a part make room first: those of the lowest.
	Rank uint8
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

// Add returns the entry of k, and makes one in the named part where there is none. The caller fills it in and calls Wrote.
func (s *Shard[K, V]) Add(part string, k K) *Entry[K, V] {
	if e := s.Find(k); e != nil {
		return e
	}
	if s.index == nil {
		s.index = make(map[K]int32)
	}
	i := int32(len(s.entries))
	s.index[k] = i
	s.entries = append(s.entries, Entry[K, V]{key: k, part: s.parts.named(part)})
	s.link(i)
	return &s.entries[i]
}

// Wrote accounts for an entry that was changed and now takes size bytes, at most 4 GiB. It drops some of what has
// expired, and makes room to stay within maxBytes; the entry itself stays. dropped is called with the name of the part
// of each entry that had not expired; nil is not called.
func (s *Shard[K, V]) Wrote(e *Entry[K, V], size, now, maxBytes int64, dropped func(part string)) {
	k := e.key
	if size != int64(e.size) {
		s.resize(e, size)
	}
	s.dropExpired(now)
	for s.bytes > maxBytes {
		kept := s.index[k]
		if !s.makeRoom(kept, now, maxBytes, dropped) {
			return
		}
	}
}

// Trim drops entries until they take maxBytes at most, as Wrote does.
func (s *Shard[K, V]) Trim(now, maxBytes int64, dropped func(part string)) {
	for s.bytes > maxBytes && s.makeRoom(none, now, maxBytes, dropped) {
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

func (s *Shard[K, V]) resize(e *Entry[K, V], size int64) {
	change := size - int64(e.size)
	e.size = uint32(size)
	s.bytes += change
	s.parts.list[e.part].bytes += change
}

// removeAt takes an entry out and fills the gap with the last one.
func (s *Shard[K, V]) removeAt(i int32) {
	s.resize(&s.entries[i], 0)
	s.unlink(i)
	delete(s.index, s.entries[i].key)
	last := int32(len(s.entries) - 1)
	if i != last {
		s.entries[i] = s.entries[last]
		s.index[s.entries[i].key] = i
		s.relink(last, i)
	}
	s.entries[last] = Entry[K, V]{}
	s.entries = s.entries[:last]
	if last >= 64 && int(last) < cap(s.entries)/4 {
		s.shrink()
	}
}

// shrink gives back the memory of entries that are no more. Neither slices nor maps do so by themselves.
func (s *Shard[K, V]) shrink() {
	s.entries = append(make([]Entry[K, V], 0, 2*len(s.entries)), s.entries...)
	s.index = make(map[K]int32, len(s.entries))
	for i := range s.entries {
		s.index[s.entries[i].key] = int32(i)
	}
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
