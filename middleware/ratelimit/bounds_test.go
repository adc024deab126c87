package ratelimit_test

import (
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/ratelimit"
)

// TestAMillionKeysTakeNoMoreMemoryThanAllowed: a flood of addresses, a tenth of
// which are denied as well, while one client goes on as ever.
func TestAMillionKeysTakeNoMoreMemoryThanAllowed(t *testing.T) {
	t.Parallel()
	const bound, denials = 8 << 20, 2 << 20
	keys := 1_000_000
	if raceEnabled {
		keys /= 4 // a dozen times as slow
	}
	clk := newClock()
	c := newCounters(t, ratelimit.CountersOptions{MemoryBytes: bound, DenyCacheBytes: denials, Now: clk.now})
	x := limit("x", ratelimit.SlidingWindow, 1, time.Hour)
	x.Ban = ratelimit.Ban{After: 2, For: time.Hour}
	l := newLimiter(t, c, x)
	r := from("192.0.2.1")
	for i := range keys {
		r.Addr = from4(i)
		if !check(l, r).Allowed() {
			t.Fatal("a new key is denied")
		}
		if i%10 == 0 && check(l, r).Allowed() {
			t.Fatal("a counter that was just written is forgotten")
		}
	}
	counters, bytes := c.MemorySize()
	if bytes > bound || counters > bound/100 {
		t.Errorf("%d counters take %d bytes, of %d", counters, bytes, bound)
	}
	if counters < bound/400 {
		t.Errorf("only %d counters are kept in %d bytes", counters, bound)
	}
	if held, counts := c.DenialBytes(); held > denials || counts > denials {
		t.Errorf("denials take %d and ban counts %d bytes, of %d", held, counts, denials)
	}
	if n := len(c.TopDenied()); n > 64 {
		t.Errorf("%d keys are listed as most denied", n)
	}

	// What has expired makes room by itself, before anything that has not.
	clk.add(3 * time.Hour)
	for i := range 3 * counters {
		r.Addr = from4(i)
		check(l, r)
	}
	if _, bytes := c.MemorySize(); bytes > bound {
		t.Errorf("after the windows' end: %d bytes of %d", bytes, bound)
	}
}

// TestALogGrowsWithinTheMemoryGiven counts what logs hold besides their slots.
func TestALogGrowsWithinTheMemoryGiven(t *testing.T) {
	t.Parallel()
	const bound = 4 << 20
	c := newCounters(t, ratelimit.CountersOptions{MemoryBytes: bound})
	x := limit("x", ratelimit.SlidingLog, 1000, time.Hour)
	x.Cost = 900
	l := newLimiter(t, c, x)
	r := from("192.0.2.1")
	for i := range 5000 {
		r.Addr = from4(i)
		check(l, r)
	}
	if counters, bytes := c.MemorySize(); bytes > bound || counters > bound/8000 {
		t.Errorf("%d logs of 8 kB take %d bytes, of %d", counters, bytes, bound)
	}
}

func TestALimitWhoseLogCannotFitIsRefused(t *testing.T) {
	t.Parallel()
	c := newCounters(t, ratelimit.CountersOptions{MemoryBytes: 1 << 20})
	_, err := ratelimit.New(ratelimit.Options{Counters: c, Limits: []ratelimit.Limit{limit("x", ratelimit.SlidingLog, 20_000, time.Hour)}})
	if err == nil {
		t.Fatal("accepted")
	}
	// With the default, whatever Validate lets through fits.
	if _, err := ratelimit.New(ratelimit.Options{Limits: []ratelimit.Limit{limit("x", ratelimit.SlidingLog, ratelimit.MaxLogged, time.Hour)}}); err != nil {
		t.Fatal(err)
	}
}

func TestTheDecisionInMemoryAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, a := range algorithms {
		d, err := ratelimit.NewBareDecision(limit("x", a, 1000, time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().UnixMicro()
		for range 2000 { // a log grows to its size
			now += 50_000
			d.Take(now)
		}
		if n := testing.AllocsPerRun(1000, func() { now += 50_000; d.Take(now) }); n != 0 {
			t.Errorf("%s: %v allocations", a, n)
		}
	}
}
