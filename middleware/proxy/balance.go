package proxy

import (
	"math"
	"math/bits"
	"sync"
)

// candidate is a server as a balancer sees it: its weight, in thousandths so
// that slow start can raise it gradually, and its requests in flight. Weight
// zero excludes it.
type candidate struct {
	weight int64
	active int64
}

const (
	weightUnit = 1000
	maxWeight  = 1000
)

// A balancer picks the index of a candidate, or -1 when all have weight zero.
// It is safe for concurrent use. Candidates are passed in the order of seeds.
type balancer struct {
	kind   Balance
	random func() uint64
	seeds  []uint64 // one per server, from its URL: stable across instances

	mu     sync.Mutex
	smooth []int64 // each server's credit; see roundRobin
}

func newBalancer(kind Balance, servers []string, random func() uint64) *balancer {
	b := &balancer{kind: kind, random: random, smooth: make([]int64, len(servers))}
	for _, s := range servers {
		b.seeds = append(b.seeds, hashString(s))
	}
	return b
}

// pick chooses; key is the client's, and used by IPHash alone.
func (b *balancer) pick(cs []candidate, key uint64) int {
	switch b.kind {
	case LeastConn:
		return b.leastConn(cs)
	case P2C:
		return b.powerOfTwo(cs)
	case IPHash:
		return b.rendezvous(cs, key)
	default:
		return b.roundRobin(cs)
	}
}

// roundRobin is nginx's smooth weighted round robin: at each pick every
// candidate's credit grows by its weight, the one with the highest credit is
// picked, and its credit shrinks by the total of the weights. Weights may change
// from pick to pick. The credit of an excluded candidate stays as it is, and no
// credit ever exceeds the total.
func (b *balancer) roundRobin(cs []candidate) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	best, total := -1, int64(0)
	for i, c := range cs {
		if c.weight == 0 {
			continue
		}
		total += c.weight
		b.smooth[i] += c.weight
		if best < 0 || b.smooth[i] > b.smooth[best] {
			best = i
		}
	}
	if best >= 0 {
		b.smooth[best] -= total
	}
	return best
}

// leastConn picks the candidate with the fewest requests in flight per weight.
// roundRobin decides among equals: on an idle upstream all are equal, and
// without it weights would have no effect.
func (b *balancer) leastConn(cs []candidate) int {
	least := -1
	for i, c := range cs {
		if c.weight > 0 && (least < 0 || lighter(c, cs[least])) {
			least = i
		}
	}
	if least < 0 {
		return -1
	}
	low := cs[least]
	for i := range cs {
		if lighter(low, cs[i]) {
			cs[i].weight = 0
		}
	}
	return b.roundRobin(cs)
}

// lighter reports whether a has fewer requests in flight per weight than b.
func lighter(a, b candidate) bool { return a.active*b.weight < b.active*a.weight }

// powerOfTwo draws two candidates by weight and picks the less loaded: on an idle
// upstream each gets its weight's share, on a busy one loads become equal.
func (b *balancer) powerOfTwo(cs []candidate) int {
	first := b.draw(cs, -1)
	if first < 0 {
		return -1
	}
	second := b.draw(cs, first)
	if second >= 0 && lighter(cs[second], cs[first]) {
		return second
	}
	return first
}

// draw picks a candidate at random with a probability by weight, other than the
// one at index without.
func (b *balancer) draw(cs []candidate, without int) int {
	var total uint64
	for i, c := range cs {
		if i != without {
			total += uint64(c.weight)
		}
	}
	if total == 0 {
		return -1
	}
	n, _ := bits.Mul64(b.random(), total) // uniform in [0, total)
	for i, c := range cs {
		if i == without {
			continue
		}
		if n < uint64(c.weight) {
			return i
		}
		n -= uint64(c.weight)
	}
	return -1 // not reached: n < total
}

// rendezvous gives every candidate a score that depends on it and the key alone,
// and picks the highest. -w/ln(u) makes the probability of each proportional to
// its weight (Schindelhauer, Schomaker: weighted distributed hash tables).
func (b *balancer) rendezvous(cs []candidate, key uint64) int {
	best, bestScore := -1, 0.0
	for i, c := range cs {
		if c.weight == 0 {
			continue
		}
		// The top 53 bits as a float in (0, 1).
		u := (float64(mix(key^b.seeds[i])>>11) + 0.5) / (1 << 53)
		if score := -float64(c.weight) / math.Log(u); best < 0 || score > bestScore {
			best, bestScore = i, score
		}
	}
	return best
}

// mix is the finaliser of SplitMix64: each bit of the input affects every bit of
// the output.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// hashString is FNV-1a, then mix. It must not depend on the process: all
// instances of the gateway must send a client to the same server.
func hashString(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}
