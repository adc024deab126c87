package ratelimit_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/ratelimit"
	"pgregory.net/rapid"
)

// sizes are quotas that reach both ends of what is allowed, so that the long
// multiplication in Lua is exercised as well as the short one.
func drawLimit(t *rapid.T, name string, a ratelimit.Algorithm) ratelimit.Limit {
	most := int64(ratelimit.MaxRequests)
	if !a.HasFixedSize() {
		most = 40 // a log is kept entry by entry: small ones meet their bound
	}
	l := ratelimit.Limit{
		Name:      name,
		Algorithm: a,
		Requests:  rapid.OneOf(rapid.Int64Range(1, 12), rapid.Int64Range(1, most)).Draw(t, "requests"),
		Window:    time.Duration(rapid.OneOf(rapid.Int64Range(1_000_000, 90_000_000), rapid.Int64Range(1_000_000, ratelimit.MaxWindow.Microseconds())).Draw(t, "window")) * time.Microsecond,
		DryRun:    rapid.IntRange(0, 4).Draw(t, "dry") == 0,
	}
	if a.HeedsBurst() && rapid.Bool().Draw(t, "has burst") {
		// At most what refills within MaxWindow.
		fillable := int64(float64(l.Requests) * (float64(ratelimit.MaxWindow) / float64(l.Window)) * 0.99)
		l.Burst = rapid.Int64Range(1, max(1, min(fillable, most))).Draw(t, "burst")
	}
	capacity := l.Requests
	if l.Burst > 0 {
		capacity = l.Burst
	}
	l.Cost = rapid.OneOf(rapid.Int64Range(1, min(3, capacity)), rapid.Int64Range(max(1, capacity/3), capacity)).Draw(t, "cost")
	if rapid.IntRange(0, 2).Draw(t, "counts") == 0 {
		l.Count.Failed = true
	}
	return l
}

// TestMemoryAndRedisGiveTheSameAnswers runs random histories under random
// limits through both backends, under one clock that is stepped forwards
// and backwards, with settlements and refunds in between.
func TestMemoryAndRedisGiveTheSameAnswers(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	shared := openStore(t, s.URL)
	run := 0
	nothing := func() bool { return false } // is settled while a request would wait
	rapid.Check(t, func(t *rapid.T) {
		run++
		clk := newClock()
		inMemory, err := ratelimit.NewCounters(ratelimit.CountersOptions{Now: clk.now, SettleNext: nothing})
		if err != nil {
			t.Fatal(err)
		}
		defer inMemory.Close()
		inRedis, err := ratelimit.NewCounters(ratelimit.CountersOptions{Redis: shared, Now: clk.now, SettleNext: nothing})
		if err != nil {
			t.Fatal(err)
		}
		defer inRedis.Close()
		inRedis.SetRedisClock(clk.micros)

		var limits []ratelimit.Limit
		for i := range rapid.IntRange(1, 3).Draw(t, "limits") {
			a := rapid.SampledFrom(algorithms).Draw(t, "algorithm")
			limits = append(limits, drawLimit(t, fmt.Sprintf("run%d-%d", run, i), a))
		}
		build := func(c *ratelimit.Counters) *ratelimit.Limiter {
			l, err := ratelimit.New(ratelimit.Options{Limits: limits, Counters: c})
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		here, there := build(inMemory), build(inRedis)

		type pair struct{ here, there *ratelimit.Result }
		var open []pair
		same := func(what string, a, b *ratelimit.Result) {
			ignore := cmpopts.IgnoreFields(ratelimit.Named{}, "Source")
			if diff := cmp.Diff(a.Decisions(), b.Decisions(), ignore, cmpopts.IgnoreUnexported(ratelimit.Decision{})); diff != "" || a.Allowed() != b.Allowed() {
				t.Fatalf("%s: memory (-) and Redis (+) differ, limits %+v:\n%s", what, limits, diff)
			}
		}
		ctx := context.Background()
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			window := limits[rapid.IntRange(0, len(limits)-1).Draw(t, "whose window")].Window
			switch rapid.IntRange(0, 7).Draw(t, "step") {
			case 0: // onwards, to some point near the limit's own times
				clk.add(time.Duration(rapid.Int64Range(0, 2*int64(window/time.Microsecond)+2).Draw(t, "by")) * time.Microsecond)
			case 1:
				clk.add(time.Duration(rapid.Int64Range(0, int64(window/time.Microsecond)/8).Draw(t, "by")) * time.Microsecond)
			case 2: // the clock is set back
				if len(limits) > 1 {
					continue // memory drops what has expired as it comes across it, and does not have it back
				}
				clk.add(-time.Duration(rapid.Int64Range(1, 3*int64(window/time.Microsecond)).Draw(t, "back")) * time.Microsecond)
			case 3: // an answer arrives
				if len(open) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				status := rapid.SampledFrom([]int{200, 401}).Draw(t, "status")
				response := ratelimit.Response{Status: status, Costed: rapid.Bool().Draw(t, "costed")}
				if response.Costed {
					response.Cost = rapid.OneOf(rapid.Int64Range(0, 50), rapid.Int64Range(0, ratelimit.MaxRequests)).Draw(t, "cost")
				}
				open[i].here.Settle(ctx, response)
				open[i].there.Settle(ctx, response)
				open = append(open[:i], open[i+1:]...)
			case 4: // a wrong guess
				if len(open) == 0 {
					continue
				}
				p := open[len(open)-1]
				p.here.Refund(ctx)
				p.there.Refund(ctx)
				open = open[:len(open)-1]
			default:
				inMemory.ForgetDenials()
				inRedis.ForgetDenials()
				p := pair{check(here, from("192.0.2.1")), check(there, from("192.0.2.1"))}
				same("check", p.here, p.there)
				if p.here.Allowed() {
					open = append(open, p)
				}
			}
		}
	})
	s.AssertEveryKeyExpires(t)
}
