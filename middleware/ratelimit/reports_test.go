package ratelimit_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/ratelimit"
)

// TestAReportIsTakenOnce, however often its reply is lost, by each algorithm; and it may charge more
// than fits, since it was admitted.
func TestAReportIsTakenOnce(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for _, a := range algorithms {
		t.Run(string(a), func(t *testing.T) {
			c := newCounters(t, ratelimit.CountersOptions{Redis: impatient(t, s.URL)})
			c.HoldReports()
			x := limit("x", a, 10, time.Hour)
			l := newLimiter(t, c, x)
			other := newLimiter(t, newCounters(t, ratelimit.CountersOptions{Redis: impatient(t, s.URL)}), x)
			awaitDecision(t, l, "192.0.2.1", ratelimit.FromRedis) // 9 remain
			s.Pause()
			awaitDecision(t, l, "192.0.2.9", ratelimit.FromLocal) // the breaker opens
			for range 2 {
				if o := check(l, from("192.0.2.1")); !o.Allowed() || o.Decisions()[0].Source != ratelimit.FromLocal {
					t.Fatalf("%+v", o.Decisions())
				}
			}
			s.Resume()
			remaining := func() int64 {
				awaitDecision(t, other, "192.0.2.100", ratelimit.FromRedis)
				return check(other, from("192.0.2.1")).Decisions()[0].Remaining
			}
			first := remaining()
			var sent []int64
			eventually(t, time.Minute, "reported", func() (ok bool) {
				var err error
				sent, err = c.ReportUnheard(context.Background())
				return err == nil && slices.Contains(sent, 1)
			})
			after := remaining()
			if first-after < 3 { // two that were admitted, and the other's own
				t.Fatalf("%d remain, and %d after the report", first, after)
			}
			again, err := c.ReportUnheard(context.Background())
			if err != nil || len(again) != len(sent) || slices.Contains(again, 1) {
				t.Fatalf("sent again: %v, %v", again, err)
			}
			if now := remaining(); after-now != 1 {
				t.Errorf("%d remain, and %d after the report was sent again", after, now)
			}
		})
		s.FlushAll()
	}
	s.AssertEveryKeyExpires(t)
}

// awaitDecision checks until the counters of a source decide.
func awaitDecision(t *testing.T, l *ratelimit.Limiter, addr string, by ratelimit.Source) {
	t.Helper()
	eventually(t, time.Minute, "decided by "+string(by), func() bool {
		d := check(l, from(addr)).Decisions()
		return len(d) == 1 && d[0].Source == by
	})
}

// TestWhatCountsByTheResponseIsReportedByIt: a login that succeeds while Redis is away is no failure
// once it is back, and one that fails is.
func TestWhatCountsByTheResponseIsReportedByIt(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := newCounters(t, ratelimit.CountersOptions{Redis: impatient(t, s.URL)})
	x := limit("x", ratelimit.SlidingWindow, 50, time.Hour)
	x.Count.Failed = true
	l := newLimiter(t, c, x)
	awaitDecision(t, l, "192.0.2.8", ratelimit.FromRedis)
	s.Stop()
	awaitDecision(t, l, "192.0.2.9", ratelimit.FromLocal)
	ctx := context.Background()
	for i := range 8 {
		o := check(l, from("192.0.2.1"))
		if !o.Allowed() {
			t.Fatal("denied")
		}
		status := 200
		if i < 3 {
			status = 401
		}
		o.Settle(ctx, ratelimit.Response{Status: status})
	}
	s.Restart()
	awaitDecision(t, l, "192.0.2.8", ratelimit.FromRedis)
	eventually(t, time.Minute, "reported", func() bool { return c.ReportsDue() == 0 })
	o := check(l, from("192.0.2.1"))
	if d := o.Decisions()[0]; d.Source != ratelimit.FromRedis || d.Remaining != 50-3-1 {
		t.Errorf("after three failures and five successes: %+v", d)
	}
}
