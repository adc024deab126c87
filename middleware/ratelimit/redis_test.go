package ratelimit_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/ratelimit"
)

// TestKeysLiveAsLongAsTheirStateMatters: not a moment less, which would forget
// what was consumed, and no more than two milliseconds longer.
func TestKeysLiveAsLongAsTheirStateMatters(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for a, want := range map[ratelimit.Algorithm]time.Duration{
		ratelimit.FixedWindow:   time.Hour,
		ratelimit.SlidingWindow: 2 * time.Hour,
		ratelimit.SlidingLog:    time.Hour,
		ratelimit.TokenBucket:   6 * time.Minute, // a tenth of it is spent
	} {
		s.FlushAll()
		c := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL)})
		x := limit("x", a, 40, time.Hour)
		x.Cost = 4
		begin := time.Now()
		check(newLimiter(t, c, x), from("192.0.2.1"))
		keys, err := s.Client.Keys(t.Context(), "*").Result()
		if err != nil || len(keys) != 1 || !strings.HasPrefix(keys[0], "headgate:limit:{") {
			t.Fatalf("%s: %v %v", a, keys, err)
		}
		ttl, err := s.Client.PTTL(t.Context(), keys[0]).Result()
		if took := time.Since(begin); err != nil || ttl > want+2*time.Millisecond || ttl < want-took-time.Millisecond {
			t.Errorf("%s: expires in %v, want %v (%v)", a, ttl, want, err)
		}
	}
}

// TestLimitsOfAClientTravelTogether counts scripts: one per request on one
// Redis; in a Cluster one per client that the request's limits tell apart.
func TestLimitsOfAClientTravelTogether(t *testing.T) {
	t.Parallel()
	part := func(keys ...string) []ratelimit.KeyPart {
		key, err := ratelimit.ParseKey(keys...)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	limits := []ratelimit.Limit{
		{Name: "ip", Key: part("ip"), Requests: 9, Window: time.Hour},
		{Name: "ip-route", Key: part("ip", "route"), Requests: 9, Window: time.Hour, Algorithm: ratelimit.SlidingLog},
		{Name: "method-ip", Key: part("method", "ip"), Requests: 9, Window: time.Hour, Algorithm: ratelimit.TokenBucket},
		{Name: "user", Key: part("user"), Requests: 9, Window: time.Hour, Algorithm: ratelimit.FixedWindow},
	}
	alice := from("192.0.2.1")
	alice.User = "alice"
	scripts := func(t *testing.T, url string, count func(testing.TB, ...string) int, r *ratelimit.Request) int {
		l := newLimiter(t, newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, url)}), limits...)
		check(l, r) // its text may have to be sent
		before := count(t, counting...)
		if !check(l, r).Allowed() {
			t.Fatal("denied")
		}
		return count(t, counting...) - before
	}
	t.Run("one Redis", func(t *testing.T) {
		s := redistest.Start(t)
		if n := scripts(t, s.URL, s.CommandCount, alice); n != 1 {
			t.Errorf("%d scripts for one request", n)
		}
	})
	t.Run("a Cluster", func(t *testing.T) {
		c := redistest.StartCluster(t)
		if n := scripts(t, c.URL, c.CommandCount, alice); n != 2 {
			t.Errorf("%d scripts for an address and a user", n)
		}
		if n := scripts(t, c.URL, c.CommandCount, from("192.0.2.2")); n != 1 {
			t.Errorf("%d scripts for an address alone, which stands for the user", n)
		}
		// A reset reaches the others through the Cluster, too.
		one := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, c.URL)})
		two := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, c.URL)})
		listening(t, one, two)
		x := limit("reset", ratelimit.FixedWindow, 1, time.Hour)
		l := newLimiter(t, two, x)
		check(l, from("192.0.2.3"))
		check(l, from("192.0.2.3"))
		if err := one.Reset(context.Background(), x, "192.0.2.3"); err != nil {
			t.Fatal(err)
		}
		eventually(t, time.Second, "admitted after a reset", func() bool { return check(l, from("192.0.2.3")).Allowed() })
	})
}

// As after a failover to a server whose clock is behind: stored time never runs
// backwards. Until the clock has caught up nothing is admitted too early.
func TestAClockThatIsSetBackAdmitsNothingTooEarly(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for _, a := range algorithms {
		clk := newClock()
		c := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL), Now: clk.now})
		c.SetRedisClock(clk.micros)
		l := newLimiter(t, c, limit("x", a, 5, time.Minute))
		for range 5 {
			if !check(l, from("192.0.2.1")).Allowed() {
				t.Fatalf("%s: denied", a)
			}
		}
		clk.add(-30 * time.Second)
		o := check(l, from("192.0.2.1"))
		if o.Allowed() {
			t.Fatalf("%s: admitted after the clock was set back", a)
		}
		wait := o.Decisions()[0].RetryAfter
		if wait <= 30*time.Second {
			t.Fatalf("%s: Retry-After %v does not allow for the clock's way back", a, wait)
		}
		c.ForgetDenials()
		clk.add(wait - time.Microsecond)
		if check(l, from("192.0.2.1")).Allowed() {
			t.Fatalf("%s: admitted too early", a)
		}
		c.ForgetDenials()
		clk.add(time.Microsecond)
		if !check(l, from("192.0.2.1")).Allowed() {
			t.Fatalf("%s: denied at the time that was promised", a)
		}
	}
}
