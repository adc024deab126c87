package ratelimit_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/ratelimit"
)

// waits hears of the requests that wait.
type waits struct {
	begun chan string // the limit that one begins to wait for
	ended chan ratelimit.WaitEnd
}

func newWaits() *waits { return &waits{make(chan string, 1000), make(chan ratelimit.WaitEnd, 1000)} }

func (w *waits) observe(e ratelimit.Wait) {
	if e.Change == 1 {
		w.begun <- e.Limit
	}
	if e.End != "" {
		w.ended <- e.End
	}
}

// withWaits runs a test on counters in memory and in Redis.
func withWaits(t *testing.T, f func(t *testing.T, c *ratelimit.Counters, w *waits)) {
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		w := newWaits()
		f(t, newCounters(t, ratelimit.CountersOptions{WaitObserver: w.observe}), w)
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		w, s := newWaits(), redistest.Start(t)
		f(t, newCounters(t, ratelimit.CountersOptions{WaitObserver: w.observe, Redis: openStore(t, s.URL)}), w)
		s.AssertEveryKeyExpires(t)
	})
}

func failures(name string, a ratelimit.Algorithm, requests int64) ratelimit.Limit {
	l := limit(name, a, requests, time.Hour)
	l.Count.Failed = true
	return l
}

// later checks in the background, and delivers the result.
func later(ctx context.Context, l *ratelimit.Limiter, r *ratelimit.Request) chan *ratelimit.Result {
	decided := make(chan *ratelimit.Result, 1)
	go func() { decided <- l.Check(ctx, r, nil) }()
	return decided
}

var (
	succeeded = ratelimit.Response{Status: 200}
	failed    = ratelimit.Response{Status: 401}
)

func TestARequestThatReservationsAloneDenyWaitsForThem(t *testing.T) {
	t.Parallel()
	withWaits(t, func(t *testing.T, c *ratelimit.Counters, w *waits) {
		ctx := t.Context()
		for _, a := range algorithms {
			l := newLimiter(t, c, failures("f", a, 2))
			first, second := check(l, from("192.0.2.1")), check(l, from("192.0.2.1"))
			third := later(ctx, l, from("192.0.2.1"))
			if name := <-w.begun; name != "f" {
				t.Fatalf("%s: it waits for %s", a, name)
			}
			if o := check(l, from("192.0.2.2")); !o.Allowed() || o.Waited() != 0 {
				t.Errorf("%s: another client waits, too", a)
			}
			first.Settle(ctx, succeeded)
			o := <-third
			if !o.Allowed() || o.Waited() <= 0 || <-w.ended != ratelimit.WaitAdmitted {
				t.Fatalf("%s: one was given back: %+v after %v", a, o.Decisions(), o.Waited())
			}
			fourth := later(ctx, l, from("192.0.2.1"))
			<-w.begun
			second.Settle(ctx, failed)
			o.Settle(ctx, failed)
			if o := <-fourth; o.Allowed() || o.RetryAfter() <= 1 || <-w.ended != ratelimit.WaitDenied {
				t.Errorf("%s: both have failed: %+v", a, o.Decisions())
			}
			if o := check(l, from("192.0.2.1")); o.Allowed() || o.Waited() != 0 || o.RetryAfter() <= 1 {
				t.Errorf("%s: the denial is not remembered: %+v", a, o.Decisions())
			}
		}
	})
}

// A request that comes while others wait for the same counter is not admitted before them.
func TestWaitingRequestsAreAdmittedInTheirOrder(t *testing.T) {
	t.Parallel()
	withWaits(t, func(t *testing.T, c *ratelimit.Counters, w *waits) {
		l := newLimiter(t, c, failures("f", ratelimit.SlidingWindow, 1))
		under := check(l, from("192.0.2.1"))
		var mu sync.Mutex
		var order []int
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				o := check(l, from("192.0.2.1"))
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				if !o.Allowed() {
					t.Errorf("request %d: %+v", i, o.Decisions())
				}
				o.Settle(t.Context(), succeeded)
			})
			<-w.begun
		}
		under.Settle(t.Context(), succeeded)
		all.Wait()
		if !slices.IsSorted(order) {
			t.Errorf("admitted in the order %v", order)
		}
	})
}

// TestTheLineIsBounded: what comes beyond it is denied at once, at no cost to Redis, and
// no client is remembered as denied for it.
func TestTheLineIsBounded(t *testing.T) {
	t.Parallel()
	w, s := newWaits(), redistest.Start(t)
	c := newCounters(t, ratelimit.CountersOptions{WaitObserver: w.observe, Redis: openStore(t, s.URL)})
	l := newLimiter(t, c, failures("f", ratelimit.SlidingWindow, 1))
	under := check(l, from("192.0.2.1"))
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	var all sync.WaitGroup
	for range ratelimit.MaxInLine {
		all.Go(func() { l.Check(ctx, from("192.0.2.1"), nil).Settle(ctx, succeeded) })
		<-w.begun
	}
	before := s.CommandCount(t, "evalsha", "eval")
	for range 200 {
		o := check(l, from("192.0.2.1"))
		if o.Allowed() || o.RetryAfter() != 1 || o.Waited() != 0 || <-w.ended != ratelimit.WaitFull {
			t.Fatalf("beyond the line: %+v, waited %v", o.Decisions(), o.Waited())
		}
	}
	if n := s.CommandCount(t, "evalsha", "eval") - before; n >= 100 {
		t.Errorf("200 requests beyond the line ran %d scripts", n)
	}
	leave()
	all.Wait()
	under.Settle(t.Context(), succeeded)
	if !check(l, from("192.0.2.1")).Allowed() {
		t.Error("the denial was remembered")
	}
}

func TestAWaitEnds(t *testing.T) {
	t.Parallel()
	withWaits(t, func(t *testing.T, c *ratelimit.Counters, w *waits) {
		ending := make(chan struct{})
		wide := limit("wide", ratelimit.TokenBucket, 100, time.Hour)
		l, err := ratelimit.New(ratelimit.Options{Counters: c, Ending: ending, Limits: []ratelimit.Limit{failures("f", ratelimit.FixedWindow, 1), wide}})
		if err != nil {
			t.Fatal(err)
		}
		under := check(l, from("192.0.2.1"))
		for _, tt := range []struct {
			how string
			end func(cancel func())
			as  ratelimit.WaitEnd
		}{
			{"the client disconnects", func(cancel func()) { cancel() }, ratelimit.WaitLeft},
			{"nothing is settled", func(func()) {}, ratelimit.WaitTimeout},
			{"the instance shuts down", func(func()) { close(ending) }, ratelimit.WaitShutdown},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			decided := later(ctx, l, from("192.0.2.1"))
			<-w.begun
			tt.end(cancel)
			o := <-decided
			if end := <-w.ended; o.Allowed() || end != tt.as || o.RetryAfter() != 1 {
				t.Errorf("%s: %s, %+v", tt.how, end, o.Decisions())
			}
			if tt.as == ratelimit.WaitTimeout && o.Waited() < ratelimit.MaxWait {
				t.Errorf("it gave up after %v", o.Waited())
			}
			cancel()
		}
		states, err := c.Inspect(t.Context(), wide, "192.0.2.1")
		if err != nil || states[0].Remaining != 99 {
			t.Errorf("what has waited has consumed: %+v, %v", states, err)
		}
		under.Settle(t.Context(), succeeded)
		if !check(l, from("192.0.2.1")).Allowed() {
			t.Error("denied although all was given back")
		}
	})
}

func TestCloseEndsAllWaits(t *testing.T) {
	t.Parallel()
	w := newWaits()
	c := newCounters(t, ratelimit.CountersOptions{WaitObserver: w.observe})
	l := newLimiter(t, c, failures("f", ratelimit.FixedWindow, 1))
	check(l, from("192.0.2.1"))
	decided := later(t.Context(), l, from("192.0.2.1"))
	<-w.begun
	c.Close()
	if o := <-decided; o.Allowed() || <-w.ended != ratelimit.WaitShutdown {
		t.Errorf("%+v", o.Decisions())
	}
}

// TestARequestThatAnotherLimitDeniesDoesNotWait: only reservations are worth it.
func TestARequestThatAnotherLimitDeniesDoesNotWait(t *testing.T) {
	t.Parallel()
	withWaits(t, func(t *testing.T, c *ratelimit.Counters, w *waits) {
		byIP, dry := limit("by-ip", ratelimit.FixedWindow, 2, time.Hour), failures("dry", ratelimit.FixedWindow, 1)
		dry.DryRun = true
		l := newLimiter(t, c, failures("f", ratelimit.FixedWindow, 2), byIP, dry)
		check(l, from("192.0.2.1"))
		if o := check(l, from("192.0.2.1")); !o.Allowed() || o.Waited() != 0 {
			t.Fatalf("a dry run had it wait: %+v", o.Decisions())
		}
		if o := check(l, from("192.0.2.1")); o.Allowed() || o.Waited() != 0 || o.RetryAfter() <= 1 {
			t.Errorf("%+v", o.Decisions())
		}
		select {
		case name := <-w.begun:
			t.Errorf("a request waited for %s", name)
		default:
		}
	})
}

// TestWhatAnotherInstanceSettlesEndsTheWaitHere, with few questions to Redis.
func TestWhatAnotherInstanceSettlesEndsTheWaitHere(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	w := newWaits()
	here := newCounters(t, ratelimit.CountersOptions{WaitObserver: w.observe, Redis: openStore(t, s.URL)})
	there := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL)})
	x := failures("f", ratelimit.SlidingWindow, 5)
	l, other := newLimiter(t, here, x), newLimiter(t, there, x)
	var under []*ratelimit.Result
	for range 5 {
		under = append(under, check(other, from("192.0.2.1")))
	}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if o := check(l, from("192.0.2.1")); o.Allowed() {
				t.Errorf("%+v", o.Decisions())
			}
		})
		<-w.begun
	}
	before := s.CommandCount(t, "evalsha", "eval")
	for range 50 {
		if end := <-w.ended; end != ratelimit.WaitTimeout {
			t.Errorf("%s", end)
		}
	}
	all.Wait()
	// The first asks, at first every 20 ms, then every 300 ms; and each that becomes the first.
	if n := s.CommandCount(t, "evalsha", "eval") - before; n > 100 {
		t.Errorf("50 requests asked Redis %d times while they waited", n)
	}

	decided := later(t.Context(), l, from("192.0.2.1"))
	<-w.begun
	under[0].Settle(t.Context(), succeeded)
	if o := <-decided; !o.Allowed() || <-w.ended != ratelimit.WaitAdmitted {
		t.Errorf("%+v", o.Decisions())
	}
	decided = later(t.Context(), l, from("192.0.2.1"))
	<-w.begun
	for _, o := range under[1:] {
		o.Settle(t.Context(), failed)
	}
	select {
	case o := <-decided:
		t.Errorf("one is open yet: %+v", o.Decisions())
	default:
	}
}

// TestWaitingInAClusterConsumesNothing of the limits that lie in other slots.
func TestWaitingInAClusterConsumesNothing(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	w := newWaits()
	c := newCounters(t, ratelimit.CountersOptions{WaitObserver: w.observe, Redis: openStore(t, cluster.URL)})
	byUser := limit("by-user", ratelimit.SlidingLog, 100, time.Hour)
	byUser.Key = []ratelimit.KeyPart{{Kind: ratelimit.KeyUser}}
	l := newLimiter(t, c, failures("f", ratelimit.FixedWindow, 1), byUser)
	r := func() *ratelimit.Request {
		r := from("192.0.2.1")
		r.User = "alice"
		return r
	}
	under := check(l, r())
	decided := later(t.Context(), l, r())
	<-w.begun
	for done := false; !done; {
		states, err := c.Inspect(t.Context(), byUser, "alice")
		if err != nil || states[0].Remaining != 99 {
			t.Fatalf("%+v, %v", states, err)
		}
		select {
		case <-w.ended: // after MaxWait
			done = true
		default:
		}
	}
	<-decided
	decided = later(t.Context(), l, r())
	<-w.begun
	under.Settle(t.Context(), succeeded)
	if o := <-decided; !o.Allowed() {
		t.Errorf("%+v", o.Decisions())
	}
	if states, err := c.Inspect(t.Context(), byUser, "alice"); err != nil || states[0].Remaining != 98 {
		t.Errorf("%+v, %v", states, err)
	}
}

// TestTwoLimitsAreWaitedForOneAfterTheOther: a request that one of them admits by now
// joins the line of the other.
func TestTwoLimitsAreWaitedForOneAfterTheOther(t *testing.T) {
	t.Parallel()
	withWaits(t, func(t *testing.T, c *ratelimit.Counters, w *waits) {
		byRoute := failures("by-route", ratelimit.FixedWindow, 2)
		byRoute.Key = []ratelimit.KeyPart{{Kind: ratelimit.KeyRoute}}
		byIP := failures("by-ip", ratelimit.SlidingLog, 1)
		l := newLimiter(t, c, byIP, byRoute)
		one, two := check(l, from("192.0.2.1")), check(l, from("192.0.2.2"))
		decided := later(t.Context(), l, from("192.0.2.1"))
		<-w.begun
		other := later(t.Context(), l, from("192.0.2.3"))
		<-w.begun
		one.Settle(t.Context(), failed) // by-ip is exhausted, by-route counts one
		if o := <-decided; o.Allowed() || o.DeniedBy() != "by-ip" {
			t.Errorf("%+v", o.Decisions())
		}
		two.Settle(t.Context(), succeeded)
		if o := <-other; !o.Allowed() {
			t.Errorf("%+v", o.Decisions())
		}
	})
}

// TestManyHonestRequestsAtOnceAreAllAdmitted under every algorithm, over two instances,
// and of guesses as many as the limit has.
func TestManyHonestRequestsAtOnceAreAllAdmitted(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	var counters []*ratelimit.Counters
	for range 2 {
		counters = append(counters, newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL)}))
	}
	ctx := t.Context()
	for _, a := range algorithms {
		for _, response := range []ratelimit.Response{succeeded, failed} {
			x := failures(fmt.Sprint(a, response.Status), a, 5)
			var all sync.WaitGroup
			admitted := make(chan bool, 60)
			for i := range 60 {
				l := newLimiter(t, counters[i%2], x)
				all.Go(func() {
					o := check(l, from("192.0.2.1"))
					if o.Allowed() {
						admitted <- true
					}
					o.Settle(ctx, response)
				})
			}
			all.Wait()
			want := 60
			if response.Status != 200 {
				want = 5
			}
			if n := len(admitted); n != want {
				t.Errorf("%s, %d: %d of 60 were admitted, want %d", a, response.Status, n, want)
			}
		}
	}
}
