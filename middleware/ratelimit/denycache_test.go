package ratelimit_test

import (
	"context"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/ratelimit"
)

// counting are the commands by which a check, a flush or a reset reaches Redis.
var counting = []string{"evalsha", "eval"}

// listening waits until an instance hears of resets: before that, denials are
// remembered for a second only.
func listening(t testing.TB, cs ...*ratelimit.Counters) {
	t.Helper()
	for _, c := range cs {
		eventually(t, 5*time.Second, "subscribed to resets", c.HearsResets)
	}
}

func TestTwoHundredDenialsReachRedisFewerThanFiveTimes(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for _, a := range algorithms {
		t.Run(string(a), func(t *testing.T) {
			c := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL)})
			listening(t, c)
			l := newLimiter(t, c, limit("x", a, 10, time.Hour))
			for range 10 {
				if !check(l, from("192.0.2.1")).Allowed() {
					t.Fatal("denied too early")
				}
			}
			before := s.CommandCount(t, counting...)
			for range 200 {
				if check(l, from("192.0.2.1")).Allowed() {
					t.Fatal("admitted")
				}
			}
			if n := s.CommandCount(t, counting...) - before; n >= 5 {
				t.Fatalf("200 denials reached Redis %d times", n)
			}
			if !check(l, from("192.0.2.2")).Allowed() {
				t.Fatal("another client is denied as well")
			}
		})
	}
}

func TestARememberedDenialEndsWhenTheClientCouldBeAdmitted(t *testing.T) {
	t.Parallel()
	clk := newClock()
	c := newCounters(t, ratelimit.CountersOptions{Now: clk.now})
	l := newLimiter(t, c, limit("x", ratelimit.TokenBucket, 60, time.Minute))
	for range 60 {
		check(l, from("192.0.2.1"))
	}
	if d := check(l, from("192.0.2.1")).Decisions()[0]; d.Source != ratelimit.FromMemory || d.RetryAfter != time.Second {
		t.Fatalf("first denial: %+v", d)
	}
	clk.add(400 * time.Millisecond)
	if d := check(l, from("192.0.2.1")).Decisions()[0]; d.Source != ratelimit.FromDenyCache || d.RetryAfter != 600*time.Millisecond {
		t.Fatalf("remembered denial: %+v", d)
	}
	clk.add(600 * time.Millisecond)
	if !check(l, from("192.0.2.1")).Allowed() {
		t.Fatal("denied although a token has come in")
	}
}

func TestTheEarlyStageLooksAtWhatNeedsNoSession(t *testing.T) {
	t.Parallel()
	byUser := limit("by-user", ratelimit.FixedWindow, 1, time.Hour)
	byUser.Key = []ratelimit.KeyPart{{Kind: ratelimit.KeyUser}}
	c := newCounters(t, ratelimit.CountersOptions{})
	users, ips := newLimiter(t, c, byUser), newLimiter(t, c, limit("by-ip", ratelimit.FixedWindow, 1, time.Hour))
	r := from("192.0.2.1")
	if ips.Denied(r) != nil {
		t.Fatal("denied before any request")
	}
	for range 2 {
		check(users, r)
		check(ips, r)
	}
	if users.Denied(r) != nil {
		t.Fatal("the early stage judged a user before the session was known")
	}
	o := ips.Denied(r)
	if o == nil || o.Allowed() || o.RetryAfter() != 3600 {
		t.Fatalf("the early stage let a known abuser pass: %+v", o)
	}
}

func TestAResetIsHeededHereAtOnceAndElsewhereWithinASecond(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	one := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL)})
	two := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL)})
	listening(t, one, two)
	x := limit("x", ratelimit.SlidingWindow, 5, time.Hour)
	x.Plans = map[string]int64{"gold": 8}
	x.Ban = ratelimit.Ban{After: 3, For: time.Hour}
	here, there := newLimiter(t, one, x), newLimiter(t, two, x)
	gold := from("192.0.2.1")
	gold.Plan = "gold"
	for range 20 { // exhausted, remembered and banned, on both
		for _, r := range []*ratelimit.Request{from("192.0.2.1"), gold} {
			check(here, r)
			check(there, r)
		}
	}
	if check(here, gold).Allowed() || check(there, gold).Allowed() {
		t.Fatal("not exhausted")
	}
	if err := one.Reset(context.Background(), x, "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	if !check(here, from("192.0.2.1")).Allowed() || !check(here, gold).Allowed() {
		t.Fatal("still denied where it was reset")
	}
	eventually(t, time.Second, "admitted elsewhere", func() bool { return check(there, gold).Allowed() })
	s.AssertEveryKeyExpires(t)
}

// What is given back may be just what a remembered denial was for want of.
func TestAGiveBackEndsARememberedDenialButNotABan(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, c *ratelimit.Counters) {
		x := limit("x", ratelimit.SlidingWindow, 1, time.Hour)
		l := newLimiter(t, c, x)
		first := check(l, from("192.0.2.1"))
		check(l, from("192.0.2.1")) // denied, and remembered
		first.Refund(context.Background())
		if !check(l, from("192.0.2.1")).Allowed() {
			t.Fatal("denied by what was true before the refund")
		}

		x.Name, x.Ban = "y", ratelimit.Ban{After: 2, For: time.Hour}
		l = newLimiter(t, c, x)
		first = check(l, from("192.0.2.1"))
		for range 2 {
			check(l, from("192.0.2.1"))
		}
		first.Refund(context.Background())
		if o := check(l, from("192.0.2.1")); o.Allowed() || !o.Decisions()[0].Banned {
			t.Fatalf("a refund ended a ban: %+v", o.Decisions())
		}
	})
}

// While messages cannot be heard, a reset elsewhere must not be missed for
// longer than a second either.
func TestDenialsAreHeldForASecondWhileResetsCannotBeHeard(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	clk := newClock()
	c := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL), Now: clk.now})
	listening(t, c)
	c.StopListening()
	l := newLimiter(t, c, limit("x", ratelimit.FixedWindow, 1, time.Hour))
	sources := func() (all []ratelimit.Source) {
		for range 2 {
			all = append(all, check(l, from("192.0.2.1")).Decisions()[0].Source)
		}
		return all
	}
	sources() // admitted, denied
	if got := sources(); got[0] != ratelimit.FromDenyCache {
		t.Fatalf("a known abuser reached %v", got)
	}
	clk.add(time.Second)
	if got := sources(); got[0] != ratelimit.FromRedis || got[1] != ratelimit.FromDenyCache {
		t.Fatalf("after a second decided by %v", got)
	}
}

func TestABanShutsOutWhoKeepsBeingDenied(t *testing.T) {
	t.Parallel()
	clk := newClock()
	c := newCounters(t, ratelimit.CountersOptions{Now: clk.now})
	x := limit("x", ratelimit.FixedWindow, 2, time.Minute)
	x.Ban = ratelimit.Ban{After: 5, For: 10 * time.Minute}
	l := newLimiter(t, c, x)
	last := func() ratelimit.Decision { return check(l, from("192.0.2.1")).Decisions()[0].Decision }
	for i := range 6 {
		if d := last(); d.Banned {
			t.Fatalf("banned by request %d", i+1)
		}
	}
	if d := last(); !d.Banned || d.RetryAfter != 10*time.Minute {
		t.Fatalf("the fifth denial, which completes the ban: %+v", d)
	}
	clk.add(9*time.Minute + 59*time.Second) // the window is long over
	if d := last(); !d.Banned || d.RetryAfter != time.Second {
		t.Fatalf("towards the end of the ban: %+v", d)
	}
	clk.add(time.Second)
	if d := last(); !d.Allowed {
		t.Fatalf("after the ban: %+v", d)
	}
	// Denials that are a window apart do not add up.
	for range 20 {
		last()
		last()
		if d := last(); d.Allowed || d.Banned {
			t.Fatalf("%+v", d)
		}
		clk.add(time.Minute)
	}
}

func TestABanIsKnownToAllInstances(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	x := limit("x", ratelimit.FixedWindow, 1, time.Hour)
	x.Ban = ratelimit.Ban{After: 10, For: 2 * time.Hour}
	var limiters []*ratelimit.Limiter
	for range 2 {
		c := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL)})
		listening(t, c)
		limiters = append(limiters, newLimiter(t, c, x))
	}
	// Six denials at each: neither instance has seen ten.
	for _, l := range limiters {
		for range 6 {
			check(l, from("192.0.2.1"))
		}
	}
	eventually(t, 10*time.Second, "a ban in Redis, by the sum", func() bool {
		bans, err := s.Client.Keys(t.Context(), "*:ban").Result()
		return err == nil && len(bans) == 1
	})
	fresh := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL)}) // knows nothing of its own
	if d := check(newLimiter(t, fresh, x), from("192.0.2.1")).Decisions()[0]; !d.Banned || d.RetryAfter <= time.Hour {
		t.Fatalf("another instance says %+v", d)
	}
	s.AssertEveryKeyExpires(t)
}

func TestTheMostDeniedKeysAreFoundInAFlood(t *testing.T) {
	t.Parallel()
	c := newCounters(t, ratelimit.CountersOptions{})
	l := newLimiter(t, c, limit("x", ratelimit.FixedWindow, 1, time.Hour))
	for i := range 3000 {
		check(l, from("192.0.2.1")) // the abuser
		r := from(addressOf(i))
		check(l, r)
		check(l, r) // everybody is denied once
	}
	top := c.TopDenied()
	if len(top) == 0 || len(top) > 64 {
		t.Fatalf("%d keys are listed", len(top))
	}
	if first := top[0]; first.Addr != "192.0.2.1" || first.Denials-first.Error > 2999 || first.Denials < 2999 || first.Limit != "x" || len(first.Key) != 32 {
		t.Fatalf("the most denied: %+v", first)
	}
}
