package ratelimit_test

import (
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/ratelimit"
)

// TestACorrectedCostIsChargedInTheWindowOfItsRequest, while the limit goes on; a bucket has
// no windows, and owes what it has not.
func TestACorrectedCostIsChargedInTheWindowOfItsRequest(t *testing.T) {
	t.Parallel()
	for _, a := range algorithms {
		clk := newClock()
		c := newCounters(t, ratelimit.CountersOptions{Now: clk.now})
		x := limit("x", a, 10, time.Minute)
		l := newLimiter(t, c, x)
		remaining := func() int64 {
			states, err := c.Inspect(t.Context(), x, "192.0.2.1")
			if err != nil {
				t.Fatal(err)
			}
			return states[0].Remaining
		}
		early, late := check(l, from("192.0.2.1")), check(l, from("192.0.2.1"))
		clk.add(time.Second)
		early.Settle(t.Context(), ratelimit.Response{Status: 200, Costed: true, Cost: 8})
		if n := remaining(); n != 1 {
			t.Errorf("%s: %d remain", a, n)
		}
		early.Settle(t.Context(), ratelimit.Response{Status: 200, Costed: true, Cost: 1}) // once only
		clk.add(3 * time.Minute)
		check(l, from("192.0.2.1"))
		late.Settle(t.Context(), ratelimit.Response{Status: 200, Costed: true, Cost: 31})
		want := int64(9)
		if a == ratelimit.TokenBucket {
			want = 0
		}
		if n := remaining(); n != want {
			t.Errorf("%s: after that window %d remain, want %d", a, n, want)
		}
		if a != ratelimit.TokenBucket {
			continue
		}
		if o := check(l, from("192.0.2.1")); o.Allowed() || o.RetryAfter() != 132 { // 31 are owed and one is asked for, of which 10 were there; ten a minute come in
			t.Errorf("what the bucket owes: %+v", o.Decisions())
		}
	}
}

// TestACorrectedLogDoesNotOutgrowItsLimit.
func TestACorrectedLogDoesNotOutgrowItsLimit(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, c *ratelimit.Counters) {
		l := newLimiter(t, c, limit("x", ratelimit.SlidingLog, 1000, time.Hour))
		var open []*ratelimit.Result
		for range 100 {
			open = append(open, check(l, from("192.0.2.1")))
		}
		for _, o := range open {
			o.Settle(t.Context(), ratelimit.Response{Status: 200, Costed: true, Cost: ratelimit.MaxRequests})
		}
		if check(l, from("192.0.2.1")).Allowed() {
			t.Error("admitted")
		}
		if _, bytes := c.MemorySize(); bytes > 64<<10 {
			t.Errorf("the log takes %d bytes", bytes)
		}
	})
}
