package replay

import "net/netip"

// IsBot reports what a user agent is taken for.
func IsBot(agent string) bool { return classifyAgent(agent).looksLikeBot() }

// CountSeries counts requests at these times, and returns the course of time.
func CountSeries(times []int64) Series {
	var s series
	for _, at := range times {
		s.at(at).Requests++
	}
	return s.result()
}

// MaxSteps is how many steps a series has at most.
const MaxSteps = maxSteps

// CountPaths counts paths and returns the most frequent ones.
func CountPaths(all []string, n int) []PathCount {
	var p paths
	for _, path := range all {
		p.add(pathKey{404, "GET", path})
	}
	return p.top(n)
}

// MaxPaths is how many paths are told apart.
const MaxPaths = maxPaths

// CountClients counts, under a bound, requests of clients with these addresses,
// where denied says which of them are denied; it returns how many are kept
// and how often the denied ones were.
func CountClients(most int, addrs []netip.Addr, isDenied func(netip.Addr) bool) (kept int, denials map[netip.Addr]int64) {
	c := newClients(most)
	for i, a := range addrs {
		v := verdict{dryRun: -1}
		if isDenied(a) {
			v.outcome = denied
		}
		if x := c.of(clientKey{addr: a}); x != nil {
			x.count(int64(i), agentUnknown, &v, "")
		}
	}
	denials = map[netip.Addr]int64{}
	for _, x := range c.all {
		if x.denied > 0 {
			denials[x.key.addr] = x.denied
		}
	}
	return len(c.byKey), denials
}
