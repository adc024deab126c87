package discovery

import (
	"net/netip"
	"slices"
)

// dropAfter is how many answers in a row an address must be missing from before it is removed. One is not enough: some DNS servers give a
// different part of a long list each time.
const dropAfter = 2

// addresses are the known addresses, each with the number of answers in a row that it was missing from.
type addresses map[netip.Addr]int

// merge returns the addresses after an answer. Where there are too many, those of the answer go before those that are missing from it, and
// known ones before new ones: what does not fit should not change from round to round.
func (known addresses) merge(answer []netip.Addr) addresses {
	var stay, come, miss []netip.Addr
	for _, a := range answer {
		if _, ok := known[a]; ok {
			stay = append(stay, a)
		} else {
			come = append(come, a)
		}
	}
	for a, missed := range known {
		if missed+1 < dropAfter && !slices.Contains(stay, a) {
			miss = append(miss, a)
		}
	}
	slices.SortFunc(come, netip.Addr.Compare)
	slices.SortFunc(miss, netip.Addr.Compare)
	next := addresses{}
	for _, a := range slices.Concat(stay, come) {
		if len(next) < MaxAddresses {
			next[a] = 0
		}
	}
	for _, a := range miss {
		if len(next) < MaxAddresses {
			next[a] = known[a] + 1
		}
	}
	return next
}

// list returns the addresses with a port, sorted.
func (known addresses) list(port uint16) []netip.AddrPort {
	all := make([]netip.AddrPort, 0, len(known))
	for a := range known {
		all = append(all, netip.AddrPortFrom(a, port))
	}
	slices.SortFunc(all, netip.AddrPort.Compare)
	return all
}
