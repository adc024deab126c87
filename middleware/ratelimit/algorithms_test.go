package ratelimit_test

import (
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/ratelimit"
	"pgregory.net/rapid"
)

// alone is one client under one limit in memory, with a clock.
type alone struct {
	clk *clock
	l   *ratelimit.Limiter
	c   *ratelimit.Counters
}

func newAlone(t *rapid.T, l ratelimit.Limit) *alone {
	a := &alone{clk: newClock()}
	var err error
	if a.c, err = ratelimit.NewCounters(ratelimit.CountersOptions{Now: a.clk.now}); err != nil {
		t.Fatal(err)
	}
	if a.l, err = ratelimit.New(ratelimit.Options{Limits: []ratelimit.Limit{l}, Counters: a.c}); err != nil {
		t.Fatal(err)
	}
	return a
}

// try makes a request; the deny cache is asked in half of all cases.
func (a *alone) try(cached bool) (ratelimit.Decision, *ratelimit.Result) {
	if !cached {
		a.c.ForgetDenials()
	}
	o := check(a.l, from("192.0.2.1"))
	return o.Decisions()[0].Decision, o
}

func drawSmall(t *rapid.T) ratelimit.Limit {
	l := drawLimit(t, "small", rapid.SampledFrom(algorithms).Draw(t, "algorithm"))
	l.DryRun, l.Count = false, ratelimit.Count{}
	return l
}

func upTo(t *rapid.T, d time.Duration, what string) time.Duration {
	return time.Duration(rapid.Int64Range(0, d.Microseconds()).Draw(t, what)) * time.Microsecond
}

func TestRetryAfterIsTheVeryMomentOfAdmission(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := drawSmall(t)
		a := newAlone(t, l)
		denials := 0
		for range rapid.IntRange(2, 60).Draw(t, "requests") {
			a.clk.add(upTo(t, l.Window/time.Duration(min(l.Requests, 8)), "pause"))
			cached := rapid.Bool().Draw(t, "cached")
			d, _ := a.try(cached)
			if d.Allowed {
				continue
			}
			denials++
			wait := time.Duration(ratelimit.Seconds(d.RetryAfter)) * time.Second
			if wait <= 0 {
				t.Fatalf("denied, but Retry-After is %v", d.RetryAfter)
			}
			// One second less is too early, and so is one microsecond.
			early := []time.Duration{wait - time.Second, d.RetryAfter - time.Microsecond}
			before := a.clk.now()
			for _, e := range early {
				a.clk.add(e - a.clk.now().Sub(before))
				if d, _ := a.try(cached); d.Allowed {
					t.Fatalf("admitted %v after a denial that said %v", e, d.RetryAfter)
				}
			}
			exact := rapid.Bool().Draw(t, "to the microsecond")
			if exact {
				wait = d.RetryAfter
			}
			a.clk.add(wait - a.clk.now().Sub(before))
			if d, _ := a.try(cached); !d.Allowed {
				t.Fatalf("denied %v after a denial that said so much; now it says %v", wait, d.RetryAfter)
			}
		}
		if denials == 0 {
			t.Skip("never denied")
		}
	})
}

// admissions is what a limit has admitted so far.
type admissions []struct {
	at   time.Time
	cost int64
}

// within sums up the costs admitted after from, up to and including to.
func (all admissions) within(from, to time.Time) (sum int64) {
	for _, x := range all {
		if x.at.After(from) && !x.at.After(to) {
			sum += x.cost
		}
	}
	return sum
}

// textbook says by an algorithm's textbook definition, in exact fractions, whether a
// request at now is to be admitted. It is called once for each request, in order;
// admitted has what was admitted before.
type textbook func(now time.Time, admitted admissions) bool

// textbooks has each algorithm's definition, from its NAME_test.go.
var textbooks = map[ratelimit.Algorithm]func(l ratelimit.Limit) textbook{
	ratelimit.FixedWindow:   fixedWindowTextbook,
	ratelimit.SlidingWindow: slidingWindowTextbook,
	ratelimit.SlidingLog:    slidingLogTextbook,
	ratelimit.TokenBucket:   tokenBucketTextbook,
}

// TestWhatIsAdmittedKeepsToTheFormula compares each decision with the textbook
// definition, over all that was admitted before.
func TestWhatIsAdmittedKeepsToTheFormula(t *testing.T) {
	t.Parallel()
	for _, a := range algorithms {
		t.Run(string(a), func(t *testing.T) {
			define, ok := textbooks[a]
			if !ok {
				t.Fatalf("write the textbook definition of %s in %s_test.go", a, a)
			}
			rapid.Check(t, func(t *rapid.T) { keepsTo(t, a, define) })
		})
	}
}

func keepsTo(t *rapid.T, a ratelimit.Algorithm, define func(ratelimit.Limit) textbook) {
	l := drawLimit(t, "small", a)
	l.DryRun, l.Count = false, ratelimit.Count{}
	client := newAlone(t, l)
	defer client.c.Close()
	admits := define(l)
	var admitted admissions
	for range rapid.IntRange(1, 80).Draw(t, "requests") {
		client.clk.add(upTo(t, 2*l.Window/time.Duration(min(l.Requests, 8)), "pause"))
		now := client.clk.now()
		want := admits(now, admitted)
		d, _ := client.try(rapid.Bool().Draw(t, "cached"))
		if d.Allowed != want {
			t.Fatalf("%v: admitted %v, the formula says %v; %+v", now, d.Allowed, want, d)
		}
		if d.Allowed {
			admitted = append(admitted, struct {
				at   time.Time
				cost int64
			}{now, l.Cost})
		}
		if d.Remaining < 0 || d.Remaining > d.Limit {
			t.Fatalf("remaining %d of %d", d.Remaining, d.Limit)
		}
	}
}

func TestDeniedRequestsConsumeNothingFromAnyLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		clk := newClock()
		c, err := ratelimit.NewCounters(ratelimit.CountersOptions{Now: clk.now})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		tight := limit("tight", rapid.SampledFrom(algorithms).Draw(t, "tight"), 2, time.Hour)
		wide := limit("wide", rapid.SampledFrom(algorithms).Draw(t, "wide"), 50, time.Hour)
		dry := limit("dry", rapid.SampledFrom(algorithms).Draw(t, "dry"), 30, time.Hour)
		dry.DryRun = true
		limits := rapid.Permutation([]ratelimit.Limit{tight, wide, dry}).Draw(t, "order")
		l, err := ratelimit.New(ratelimit.Options{Limits: limits, Counters: c})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			c.ForgetDenials()
			if o := check(l, from("192.0.2.1")); o.Allowed() != (i < 2) {
				t.Fatalf("request %d: %v", i, o.Decisions())
			}
		}
		for _, x := range []ratelimit.Limit{wide, dry} {
			states, err := c.Inspect(t.Context(), x, "192.0.2.1")
			if err != nil {
				t.Fatal(err)
			}
			// Inspect tells of the state before a request.
			if got := states[0].Remaining; got != x.Requests-2 {
				t.Fatalf("%s: %d remain of %d after two admissions and eighteen denials", x.Name, got, x.Requests)
			}
		}
	})
}
