package proxy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// The balancers are pure but for their credit, and tested from within: over
// HTTP only the outlines of their distributions would be seen.

func names(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("http://10.0.0.%d:80", i))
	}
	return all
}

func drawCandidates(t *rapid.T, weights *rapid.Generator[int64]) []candidate {
	cs := make([]candidate, rapid.IntRange(1, 12).Draw(t, "servers"))
	for i := range cs {
		cs[i].weight = weights.Draw(t, "weight")
	}
	return cs
}

func total(cs []candidate) (sum int64) {
	for _, c := range cs {
		sum += c.weight
	}
	return sum
}

func TestRoundRobinGivesEveryoneItsShareAtAnyTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cs := drawCandidates(t, rapid.Int64Range(1, 50))
		b := newBalancer(RoundRobin, names(len(cs)), rand.Uint64)
		sum := total(cs)
		got := make([]int64, len(cs))
		for n := int64(1); n <= 3*sum; n++ {
			got[b.pick(cs, 0)]++
			for i, c := range cs {
				// Never as far off as the number of servers, whatever the run.
				if due := float64(n) * float64(c.weight) / float64(sum); math.Abs(float64(got[i])-due) >= float64(len(cs)) {
					t.Fatalf("after %d picks server %d has had %d, due %.1f", n, i, got[i], due)
				}
			}
			if n%sum == 0 {
				for i, c := range cs {
					if got[i] != n/sum*c.weight {
						t.Fatalf("after %d whole rounds server %d has had %d", n/sum, i, got[i])
					}
				}
			}
		}
	})
}

func TestRoundRobinIsSmooth(t *testing.T) {
	t.Parallel()
	b := newBalancer(RoundRobin, names(3), rand.Uint64)
	got := ""
	for range 7 {
		got += string(rune('a' + b.pick([]candidate{{weight: 5}, {weight: 1}, {weight: 1}}, 0)))
	}
	if got != "aabacaa" {
		t.Errorf("got %s", got)
	}
}

// Servers come and go while requests are balanced; whoever is there must go
// on getting its share, and nobody a burst for having been away.
func TestRoundRobinRecoversFromAnyHistory(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cs := drawCandidates(t, rapid.Int64Range(1, 20))
		b := newBalancer(RoundRobin, names(len(cs)), rand.Uint64)
		for range rapid.IntRange(0, 300).Draw(t, "history") {
			some := append([]candidate(nil), cs...)
			for i := range some {
				if rapid.Bool().Draw(t, "away") {
					some[i].weight = 0
				}
			}
			if i := b.pick(some, 0); i >= 0 && some[i].weight == 0 || i < 0 && total(some) > 0 {
				t.Fatalf("picked %d of %v", i, some)
			}
		}
		sum := total(cs)
		got := make([]int64, len(cs))
		const rounds = 5
		for range rounds * sum {
			got[b.pick(cs, 0)]++
		}
		for i, c := range cs {
			if off := math.Abs(float64(got[i] - rounds*c.weight)); off > 2*float64(len(cs)) {
				t.Errorf("server %d of weight %d had %d in %d rounds", i, c.weight, got[i], rounds)
			}
		}
	})
}

func TestEveryBalancerPicksOnlyWhoIsThere(t *testing.T) {
	t.Parallel()
	for _, kind := range []Balance{RoundRobin, LeastConn, P2C, IPHash, Cookie} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				cs := drawCandidates(t, rapid.Int64Range(0, 3))
				for i := range cs {
					cs[i].active = rapid.Int64Range(0, 5).Draw(t, "active")
				}
				there := append([]candidate(nil), cs...)
				b := newBalancer(kind, names(len(cs)), rand.Uint64)
				switch i := b.pick(cs, rapid.Uint64().Draw(t, "key")); {
				case i < 0 && total(there) > 0:
					t.Fatalf("picked nobody of %v", there)
				case i >= 0 && there[i].weight == 0:
					t.Fatalf("picked %d of %v", i, there)
				}
			})
		})
	}
}

func TestLeastConnPicksTheLeastLoadedByWeight(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cs := drawCandidates(t, rapid.Int64Range(1, 5))
		for i := range cs {
			cs[i].active = rapid.Int64Range(0, 10).Draw(t, "active")
		}
		all := append([]candidate(nil), cs...)
		b := newBalancer(LeastConn, names(len(cs)), rand.Uint64)
		picked := all[b.pick(cs, 0)]
		for _, c := range all {
			if lighter(c, picked) {
				t.Fatalf("picked %v, though there is %v", picked, c)
			}
		}
	})
}

func TestIdleUpstreamIsSharedByWeight(t *testing.T) {
	t.Parallel()
	for _, kind := range []Balance{LeastConn, P2C, IPHash} {
		b := newBalancer(kind, names(3), rand.New(rand.NewPCG(1, 2)).Uint64)
		var got [3]int
		for n := range 60000 {
			got[b.pick([]candidate{{weight: 1000}, {weight: 2000}, {weight: 3000}}, mix(uint64(n)))]++
		}
		for i, n := range got {
			if due := 10000 * (i + 1); math.Abs(float64(n-due)) > 600 {
				t.Errorf("%s: %v", kind, got)
			}
		}
	}
}

// The point of two choices: with random service times the longest queue stays
// close to the shortest.
func TestTwoChoicesLevelTheLoad(t *testing.T) {
	t.Parallel()
	const n = 10
	random := rand.New(rand.NewPCG(3, 4))
	longest := func(kind Balance) (most int64) {
		b := newBalancer(kind, names(n), random.Uint64)
		var active [n]int64
		for range 20000 {
			cs := make([]candidate, n)
			for i := range cs {
				cs[i] = candidate{weight: 1000, active: active[i]}
			}
			active[b.pick(cs, random.Uint64())]++
			// Somebody finishes: each server as likely as any other.
			if i := random.IntN(n); active[i] > 0 {
				active[i]--
			}
			for _, a := range active {
				most = max(most, a)
			}
		}
		return most
	}
	if two, hash := longest(P2C), longest(IPHash); two*3 > hash {
		t.Errorf("longest queue: two choices %d, blind %d", two, hash)
	}
}

func TestIPHashMovesNobodyButTheClientsOfTheServerThatGoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cs := drawCandidates(t, rapid.Int64Range(1, 4))
		servers := names(len(cs))
		gone := rapid.IntRange(0, len(cs)-1).Draw(t, "gone")
		b := newBalancer(IPHash, servers, rand.Uint64)
		// The same servers without the one, in an upstream of their own.
		without := newBalancer(IPHash, append(append([]string(nil), servers[:gone]...), servers[gone+1:]...), rand.Uint64)
		rest := append(append([]candidate(nil), cs[:gone]...), cs[gone+1:]...)
		for range 50 {
			key := rapid.Uint64().Draw(t, "key")
			home := b.pick(cs, key)
			down := append([]candidate(nil), cs...)
			down[gone].weight = 0
			during := b.pick(down, key)
			if home != gone && during != home {
				t.Fatalf("a client of %d moved to %d when %d went", home, during, gone)
			}
			if len(rest) > 0 {
				if other := without.pick(rest, key); names(len(cs))[during] != without.nameOf(other, servers, gone) {
					t.Fatalf("an instance without server %d disagrees", gone)
				}
			}
			if again := b.pick(cs, key); again != home {
				t.Fatalf("a client of %d came back to %d", home, again)
			}
		}
	})
}

func (b *balancer) nameOf(i int, servers []string, without int) string {
	if i >= without {
		i++
	}
	return servers[i]
}

func TestIPHashIsTheSameInEveryInstance(t *testing.T) {
	t.Parallel()
	// Pinned: another hash would send every client elsewhere on an upgrade.
	b := newBalancer(IPHash, names(5), rand.Uint64)
	cs := []candidate{{weight: 1000}, {weight: 1000}, {weight: 1000}, {weight: 1000}, {weight: 1000}}
	got := ""
	for i := range 20 {
		got += fmt.Sprint(b.pick(cs, hashString(fmt.Sprint("client", i))))
	}
	if want := "13041303132322211314"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestBalancersAreSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	for _, kind := range []Balance{RoundRobin, LeastConn, P2C, IPHash, Cookie} {
		b := newBalancer(kind, names(4), rand.Uint64)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for key := range uint64(2000) {
					if i := b.pick([]candidate{{weight: 1}, {weight: 2}, {}, {weight: 3}}, key); i < 0 || i == 2 {
						t.Errorf("%s picked %d", kind, i)
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestBudgetNeverExceedsItsShare(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.Float64Range(0.01, 1).Draw(t, "share")
		var b budget
		var requests, retries []int // since every point in time that the check starts from
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			requests, retries = append(requests, 0), append(retries, 0)
			earned := rapid.IntRange(0, 20).Draw(t, "requests")
			for range earned {
				b.earn(share)
			}
			spent := 0
			for range rapid.IntRange(0, 60).Draw(t, "retries") {
				if b.spend() {
					spent++
				}
			}
			for i := range requests {
				requests[i] += earned
				retries[i] += spent
				if float64(retries[i]) > RetryReserve+share*float64(requests[i]) {
					t.Fatalf("%d retries over %d requests at %v", retries[i], requests[i], share)
				}
			}
		}
	})
}

func TestRefundedRetriesCanBeSpentAgain(t *testing.T) {
	t.Parallel()
	var b budget
	n := 0
	for b.spend() {
		n++
	}
	b.refund()
	if !b.spend() || b.spend() || n != RetryReserve {
		t.Errorf("spent %d", n)
	}
}
