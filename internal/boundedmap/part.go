package boundedmap

import "math"

// parts are those of a Shard that hold entries, and places for others.
type parts struct {
	list   []part
	byName map[string]uint16
	free   []uint16 // places in list without entries
}

type part struct {
	name  string
	bytes int64
	len   int32
	hand  int32 // the entry that is looked at next when the part makes room
}

// none is no entry.
const none = -1

// named returns the place of the part of that name, which may be a new one. A 65,536th part shares the first one's.
func (p *parts) named(name string) uint16 {
	if i, ok := p.byName[name]; ok {
		return i
	}
	if p.byName == nil {
		p.byName = make(map[string]uint16)
	}
	var i uint16
	switch n := len(p.free); {
	case n > 0:
		i = p.free[n-1]
		p.free = p.free[:n-1]
	case len(p.list) < math.MaxUint16:
		i = uint16(len(p.list))
		p.list = append(p.list, part{})
	default:
		return 0
	}
	p.list[i] = part{name: name, hand: none}
	p.byName[name] = i
	return i
}

// release gives up a part that has become empty.
func (p *parts) release(i uint16) {
	delete(p.byName, p.list[i].name)
	p.list[i] = part{hand: none}
	p.free = append(p.free, i)
}

// most returns the part that takes the most bytes, other than one.
func (p *parts) most(other uint16) (most uint16, ok bool) {
	for i := range p.list {
		if i := uint16(i); i != other && p.list[i].len > 0 && (!ok || p.list[i].bytes > p.list[most].bytes) {
			most, ok = i, true
		}
	}
	return most, ok
}

// link puts an entry into its part's ring, where it is the last to be looked at.
func (s *Shard[K, V]) link(i int32) {
	e := &s.entries[i]
	p := &s.parts.list[e.part]
	p.len++
	if p.hand == none {
		p.hand, e.prev, e.next = i, i, i
		return
	}
	e.next = p.hand
	e.prev = s.entries[p.hand].prev
	s.entries[e.prev].next = i
	s.entries[e.next].prev = i
}

// unlink takes an entry out of its part's ring.
func (s *Shard[K, V]) unlink(i int32) {
	e := &s.entries[i]
	p := &s.parts.list[e.part]
	if p.len--; p.len == 0 {
		s.parts.release(e.part)
		return
	}
	s.entries[e.prev].next = e.next
	s.entries[e.next].prev = e.prev
	if p.hand == i {
		p.hand = e.next
	}
}

// relink follows an entry that has moved.
func (s *Shard[K, V]) relink(from, to int32) {
	e := &s.entries[to]
	if e.next == from {
		e.prev, e.next = to, to
	} else {
		s.entries[e.prev].next = to
		s.entries[e.next].prev = to
	}
	if p := &s.parts.list[e.part]; p.hand == from {
		p.hand = to
	}
}

// makeRoom drops an entry, but never kept, which was just written. It is false where there is no other one.
//
// Parts that hold something have equal shares of maxBytes, and may take more while others take less. The part of the
// entry that was written makes the room itself if it takes more than its share; otherwise the part does that takes the
// most. So a part never loses an entry to another while it takes its share at most.
func (s *Shard[K, V]) makeRoom(kept int32, now, maxBytes int64, dropped func(part string)) bool {
	from, ok := s.overShare(kept, maxBytes)
	if !ok {
		return false
	}
	victim := s.leastWorth(from, kept, now)
	if dropped != nil && s.entries[victim].Expires > now {
		dropped(s.parts.list[from].name)
	}
	s.removeAt(victim)
	return true
}

// overShare returns the part that makes room.
func (s *Shard[K, V]) overShare(kept int32, maxBytes int64) (from uint16, ok bool) {
	if kept == none {
		return s.parts.most(math.MaxUint16)
	}
	own := s.entries[kept].part
	if p := &s.parts.list[own]; p.len > 1 && p.bytes > maxBytes/int64(len(s.parts.byName)) {
		return own, true
	}
	if from, ok = s.parts.most(own); !ok {
		from, ok = own, s.parts.list[own].len > 1
	}
	return from, ok
}

// leastWorth returns, of a part's next eight entries, one that has expired, or one of the lowest rank that would expire
// first. The part has one besides kept.
func (s *Shard[K, V]) leastWorth(from uint16, kept int32, now int64) int32 {
	p := &s.parts.list[from]
	victim := int32(none)
	for range min(8, p.len) {
		if p.hand != kept && (victim == none || s.entries[p.hand].before(&s.entries[victim], now)) {
			victim = p.hand
		}
		p.hand = s.entries[p.hand].next
	}
	return victim
}

// before reports whether e is to go before another entry.
func (e *Entry[K, V]) before(other *Entry[K, V], now int64) bool {
	if e.Expires <= now || other.Expires <= now || e.Rank == other.Rank {
		return e.Expires < other.Expires
	}
	return e.Rank < other.Rank
}
