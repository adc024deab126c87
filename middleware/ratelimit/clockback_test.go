package ratelimit_test

import (
	"context"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/redis/go-redis/v9"
)

// TestAClockThatIsSetBackByAnHourLocksNoClientOut: as after a failover of Redis to another host. A
// client that is exhausted waits for a window at most, however far the clock was set back.
func TestAClockThatIsSetBackByAnHourLocksNoClientOut(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for _, a := range algorithms {
		for _, back := range []time.Duration{61 * time.Second, time.Hour, 30 * 24 * time.Hour} {
			t.Run(string(a)+" "+back.String(), func(t *testing.T) {
				clk := newClock()
				c := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL), Now: clk.now})
				c.SetRedisClock(clk.micros)
				x := limit("by-"+back.String()[:3], a, 40, time.Minute)
				if !a.HasFixedSize() {
					x.Requests = 5
				}
				x.Count.Failed = true
				l := newLimiter(t, c, x)
				for range x.Requests {
					r := check(l, from("192.0.2.1"))
					if !r.Allowed() {
						t.Fatal("denied")
					}
					r.Settle(context.Background(), ratelimit.Response{Status: 401})
				}
				clk.add(-back)
				// The client keeps asking: what counts from now must not count from each request again.
				admitted := 0
				for range 120 {
					c.ForgetDenials()
					if r := check(l, from("192.0.2.1")); r.Allowed() {
						admitted++
						r.Settle(context.Background(), ratelimit.Response{Status: 401})
					} else if wait := r.Decisions()[0].RetryAfter; wait > time.Minute+time.Second {
						t.Fatalf("Retry-After is %v", wait)
					}
					clk.add(time.Second)
				}
				// Two windows; of token_bucket's and sliding_window's tokens some come back early.
				if most := 2 * x.Requests; admitted == 0 || int64(admitted) > most {
					t.Errorf("%d admitted of %d in two windows", admitted, x.Requests)
				}
			})
		}
	}
}

// TestPlacesOfAClockThatIsSetBack: those of an instance that was killed are free after their lease.
func TestPlacesOfAClockThatIsSetBack(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	clk := newClock()
	of := func() *ratelimit.Limiter {
		c := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL), Now: clk.now})
		c.SetRedisClock(clk.micros)
		return newLimiter(t, c, inFlight("a", 1))
	}
	killed, lives := of(), of()
	if !check(killed, from("192.0.2.1")).Allowed() {
		t.Fatal("denied")
	}
	clk.add(-time.Hour)
	if check(lives, from("192.0.2.1")).Allowed() {
		t.Fatal("the place is taken, and was given twice")
	}
	clk.add(ratelimit.LeaseFor + time.Second)
	if !check(lives, from("192.0.2.1")).Allowed() {
		t.Error("the place of an instance that was killed is not free after its lease")
	}
}

// TestABanOfAClockThatIsSetBack: Redis has expiries by its wall clock, and a key that was to last ten
// minutes lasts an hour more after such a step.
func TestABanOfAClockThatIsSetBack(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	x := limit("x", ratelimit.FixedWindow, 1, time.Minute)
	x.Ban = ratelimit.Ban{After: 1, For: 10 * time.Minute}
	c := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL)})
	l := newLimiter(t, c, x)
	check(l, from("192.0.2.1"))
	if check(l, from("192.0.2.1")).Allowed() {
		t.Fatal("admitted")
	}
	var key string
	eventually(t, 10*time.Second, "the ban is in Redis", func() bool {
		found, err := s.Client.Keys(t.Context(), "*:ban").Result()
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 1 {
			key = found[0]
		}
		return key != ""
	})
	if err := s.Client.PExpire(t.Context(), key, 70*time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	c.ForgetDenials()
	r := check(l, from("192.0.2.1"))
	if d := r.Decisions()[0]; !d.Banned || d.RetryAfter > 10*time.Minute {
		t.Errorf("banned %v, for %v", d.Banned, d.RetryAfter)
	}
	if lasts, err := s.Client.PTTL(t.Context(), key).Result(); err != nil && err != redis.Nil || lasts > 10*time.Minute {
		t.Errorf("the key lasts %v, %v", lasts, err)
	}
	// A ban of an instance of before has no length, and lasts what its key says.
	if err := s.Client.Set(t.Context(), key, "1", 70*time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	c.ForgetDenials()
	if d := check(l, from("192.0.2.1")).Decisions()[0]; !d.Banned || d.RetryAfter < 60*time.Minute {
		t.Errorf("banned %v, for %v", d.Banned, d.RetryAfter)
	}
}
