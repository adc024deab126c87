package ratelimit_test

import (
	"context"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/ratelimit"
)

// slidingWindowTextbook: up to 32 requests it is a sliding log. Above, the window before
// counts by the fraction of it that a window which ends now covers, and the last request
// may be there in part.
func slidingWindowTextbook(l ratelimit.Limit) textbook {
	if l.Requests <= 32 {
		return slidingLogTextbook(l)
	}
	var last time.Time // when the window of the last admission opened
	return func(now time.Time, admitted admissions) bool {
		opened := last
		previous := admitted.within(opened.Add(-l.Window-1), opened.Add(-1))
		current := admitted.within(opened.Add(-1), now)
		switch elapsed := now.Sub(opened); {
		case elapsed >= 2*l.Window || current+previous == 0:
			opened, previous, current = now, 0, 0
		case elapsed >= l.Window:
			opened = opened.Add(l.Window)
			previous, current = current, 0
		}
		estimate := big.NewRat(int64(l.Window-now.Sub(opened)), int64(l.Window))
		estimate.Mul(estimate, new(big.Rat).SetInt64(previous))
		estimate.Add(estimate, new(big.Rat).SetInt64(current+l.Cost-1))
		if estimate.Cmp(new(big.Rat).SetInt64(l.Requests)) >= 0 {
			return false
		}
		last = opened
		return true
	}
}

// windowSizes are limits on both sides of those that a sliding_window counts exactly.
var windowSizes = []int64{1, 2, 3, 5, 10, 31, 32, 33, 34, 40, 49, 50, 100, 333, 1000}

// demand has one client ask at a constant distance, and returns how many of its requests
// were admitted in each window, but the first two.
func demand(t *testing.T, l *ratelimit.Limiter, clk *clock, window time.Duration, perWindow int64, windows int) (admitted []int64) {
	t.Helper()
	begin := clk.now()
	for w := range int64(windows) {
		n := int64(0)
		for i := range perWindow {
			at := begin.Add(time.Duration(w)*window + time.Duration(i*window.Microseconds()/perWindow)*time.Microsecond)
			clk.add(at.Sub(clk.now()))
			if check(l, from("192.0.2.1")).Allowed() {
				n++
			}
		}
		if w >= 2 {
			admitted = append(admitted, n)
		}
	}
	return admitted
}

// onEach runs a test of limits under a clock of the test's: in memory, in one Redis and in
// a Cluster. Each run begins with counters that nothing has used.
func onEach(t *testing.T, f func(t *testing.T, fresh func(ratelimit.Limit) (*ratelimit.Limiter, *clock))) {
	run := func(r func(*testing.T, *clock) *ratelimit.Counters) func(*testing.T) {
		return func(t *testing.T) {
			t.Parallel()
			n := 0
			f(t, func(l ratelimit.Limit) (*ratelimit.Limiter, *clock) {
				n++
				l.Name = fmt.Sprintf("%s-%d", l.Name, n)
				clk := newClock()
				return newLimiter(t, r(t, clk), l), clk
			})
		}
	}
	inRedis := func(url string) func(*testing.T, *clock) *ratelimit.Counters {
		shared := openStore(t, url)
		return func(t *testing.T, clk *clock) *ratelimit.Counters {
			c := newCounters(t, ratelimit.CountersOptions{Redis: shared, Now: clk.now})
			c.SetRedisClock(clk.micros)
			return c
		}
	}
	t.Run("memory", run(func(t *testing.T, clk *clock) *ratelimit.Counters {
		return newCounters(t, ratelimit.CountersOptions{Now: clk.now})
	}))
	t.Run("redis", run(inRedis(redistest.Start(t).URL)))
	t.Run("cluster", run(inRedis(redistest.StartCluster(t).URL)))
}

func TestConstantDemandGetsTheWholeLimit(t *testing.T) {
	t.Parallel()
	const window, windows = time.Minute, 8
	onEach(t, func(t *testing.T, fresh func(ratelimit.Limit) (*ratelimit.Limiter, *clock)) {
		for _, n := range windowSizes {
			for _, percent := range []int64{100, 110, 150, 200, 730} {
				l, clk := fresh(limit("demand", ratelimit.SlidingWindow, n, window))
				perWindow := max(n, n*percent/100)
				if perWindow == n && n > 32 {
					continue // that is for the test below
				}
				sum := int64(0)
				for _, got := range demand(t, l, clk, window, perWindow, windows) {
					sum += got
				}
				if share := 100 * float64(sum) / float64(n*(windows-2)); share < 99 || share > 101 {
					t.Errorf("a limit of %d, asked %d times a window, admits %.1f %% of itself", n, perWindow, share)
				}
			}
		}
	})
}

func TestAClientThatKeepsToTheRateIsNotDenied(t *testing.T) {
	t.Parallel()
	const window = time.Minute
	onEach(t, func(t *testing.T, fresh func(ratelimit.Limit) (*ratelimit.Limiter, *clock)) {
		for _, n := range windowSizes {
			l, clk := fresh(limit("rate", ratelimit.SlidingWindow, n, window))
			for w, got := range demand(t, l, clk, window, n, 8) {
				if got < n && (n <= 32 || got < n-1) {
					t.Errorf("a limit of %d denies %d of the %d requests of window %d", n, n-got, n, w)
				}
			}
		}
	})
}

// TestASecondRequestAfterExactlyAWindowIsAdmitted is the limit of issue 14: it gave 200
// 429 200 429.
func TestASecondRequestAfterExactlyAWindowIsAdmitted(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, fresh func(ratelimit.Limit) (*ratelimit.Limiter, *clock)) {
		l, clk := fresh(limit("one", ratelimit.SlidingWindow, 1, 2*time.Second))
		for i := range 6 {
			if !check(l, from("192.0.2.1")).Allowed() {
				t.Errorf("request %d, 2 s after the one before it, is denied", i+1)
			}
			clk.add(2 * time.Second)
		}
	})
}

// TestAPlanOnTheOtherSideOf32HasACounterOfItsOwn: a limit of 100 is counted by two windows,
// its plan of 20 by a log. Neither reads what the other has written, nor does the limit
// after an edit across 32.
func TestAPlanOnTheOtherSideOf32HasACounterOfItsOwn(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, c *ratelimit.Counters) {
		x := limit("sides", ratelimit.SlidingWindow, 100, time.Hour)
		x.Plans = map[string]int64{"small": 20}
		edited := x
		edited.Requests, edited.Plans = 32, map[string]int64{"small": 40}
		for _, x := range []ratelimit.Limit{x, edited, x} {
			l := newLimiter(t, c, x)
			for plan, size := range map[string]int64{"": x.Requests, "small": x.Plans["small"]} {
				if err := c.Reset(context.Background(), x, "192.0.2.1"); err != nil {
					t.Fatal(err)
				}
				r := from("192.0.2.1")
				r.Plan = plan
				for i := range size + 3 {
					res := check(l, r)
					if d := res.Decisions(); res.Allowed() != (i < size) || len(d) != 1 || d[0].Source == ratelimit.FromLocal {
						t.Fatalf("request %d of %d of plan %q: %+v", i+1, size, plan, d)
					}
				}
			}
			states, err := c.Inspect(context.Background(), x, "192.0.2.1")
			if err != nil || len(states) != 2 {
				t.Fatalf("%+v, %v", states, err)
			}
		}
	})
}
