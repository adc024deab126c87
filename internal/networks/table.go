// Package networks finds the network that holds an address, among any number of networks.
package networks

import (
	"cmp"
	"net/netip"
	"slices"
	"sort"
)

// Table finds the entry for an address in the time of a binary search. It is immutable and safe
// for concurrent use. The zero Table holds nothing.
//
// Networks of IPv4 and IPv6 are apart: ::/0 holds no IPv4 address. An address is looked up as it
// is, so the caller unmaps it and drops its zone.
type Table[V any] struct {
	// The addresses are cut into intervals in each of which one entry counts: interval i goes from
	// starts[i] to the start of the next one, and entries[counts[i]] counts in it; none if negative.
	starts  []netip.Addr
	counts  []int32
	entries []Entry[V]
}

// Entry is a network and what is known of it.
type Entry[V any] struct {
	Network netip.Prefix
	Value   V
}

// New makes a Table, and takes entries over. Their networks must be valid and masked, and no
// two the same. Where networks overlap, better reports whether an entry counts in the place of
// one whose network is wider; nil means that it always does.
func New[V any](entries []Entry[V], better func(inner, outer V) bool) *Table[V] {
	slices.SortFunc(entries, func(a, b Entry[V]) int {
		return cmp.Or(a.Network.Addr().Compare(b.Network.Addr()), cmp.Compare(a.Network.Bits(), b.Network.Bits()))
	})
	t := &Table[V]{entries: entries}
	var open []opened // the networks that hold the address that is come to, from the widest to the narrowest
	closeInner := func() {
		inner := open[len(open)-1]
		open = open[:len(open)-1]
		if after := next(inner.last); after.IsValid() {
			t.begin(after, counting(open))
		}
	}
	for i := range entries {
		network := entries[i].Network
		for len(open) > 0 && open[len(open)-1].last.Less(network.Addr()) {
			closeInner()
		}
		counts := int32(i)
		if outer := counting(open); outer >= 0 && better != nil && !better(entries[i].Value, entries[outer].Value) {
			counts = outer
		}
		t.begin(network.Addr(), counts)
		open = append(open, opened{Last(network), counts})
	}
	for len(open) > 0 {
		closeInner()
	}
	return t
}

// opened is a network that New is within.
type opened struct {
	last   netip.Addr
	counts int32
}

// counting returns the entry that counts within the open networks; -1: none.
func counting(open []opened) int32 {
	if len(open) == 0 {
		return -1
	}
	return open[len(open)-1].counts
}

// begin begins an interval. An interval that would begin at the same address has no room, and goes.
func (t *Table[V]) begin(at netip.Addr, counts int32) {
	if last := len(t.starts) - 1; last >= 0 && t.starts[last] == at {
		t.counts[last] = counts
		return
	}
	t.starts, t.counts = append(t.starts, at), append(t.counts, counts)
}

// Find returns the entry that counts for an address; nil if no network holds it.
func (t *Table[V]) Find(addr netip.Addr) *Entry[V] {
	i := sort.Search(len(t.starts), func(i int) bool { return addr.Less(t.starts[i]) }) - 1
	if i < 0 || t.counts[i] < 0 {
		return nil
	}
	return &t.entries[t.counts[i]]
}

// Entries returns all entries, in the order of their networks. The caller must not change them.
func (t *Table[V]) Entries() []Entry[V] { return t.entries }

// Last returns the last address of a network.
func Last(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for i := p.Bits(); i < len(bytes)*8; i++ {
		bytes[i/8] |= 1 << (7 - i%8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}

// next returns the address after one. IPv6 follows IPv4, and nothing follows IPv6.
func next(addr netip.Addr) netip.Addr {
	if after := addr.Next(); after.IsValid() || addr.Is6() {
		return after
	}
	return netip.IPv6Unspecified()
}
