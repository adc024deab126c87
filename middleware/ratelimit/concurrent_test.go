package ratelimit_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/labstack/echo/v4"
	"pgregory.net/rapid"
)

func inFlight(name string, n int64) ratelimit.Limit {
	return ratelimit.Limit{Name: name, Concurrent: n}
}

// onEachCounters runs a test on counters in memory and on two instances that share a Redis.
func onEachCounters(t *testing.T, test func(t *testing.T, here, there *ratelimit.Counters)) {
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		c := newCounters(t, ratelimit.CountersOptions{})
		test(t, c, c)
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		s := redistest.Start(t)
		test(t, newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL)}), newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL)}))
		s.AssertEveryKeyExpires(t)
	})
}

func TestRequestsInFlightHoldTheirPlaces(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	onEachCounters(t, func(t *testing.T, here, there *ratelimit.Counters) {
		l := []*ratelimit.Limiter{newLimiter(t, here, inFlight("a", 3)), newLimiter(t, there, inFlight("a", 3))}
		var held []*ratelimit.Result
		for i := range 3 {
			r := check(l[i%2], from("192.0.2.1"))
			if !r.Allowed() || !r.Holds() {
				t.Fatalf("request %d is denied", i+1)
			}
			if d := r.Decisions()[0]; d.Limit != 3 || d.Remaining != int64(2-i) || d.Reset != 0 {
				t.Errorf("request %d: %+v", i+1, d)
			}
			held = append(held, r)
		}
		h := http.Header{}
		held[2].WriteHeaders(h)
		if h.Get("Ratelimit-Policy") != `"a";q=3;qu="concurrent-requests"` || h.Get("Ratelimit") != `"a";r=0` {
			t.Errorf("%v", h)
		}
		for range 2 { // a denial is not remembered
			r := check(l[1], from("192.0.2.1"))
			if r.Allowed() || r.Holds() || r.RetryAfter() != 1 || r.DeniedBy() != "a" {
				t.Fatalf("the fourth: %v, Retry-After %d", r.Allowed(), r.RetryAfter())
			}
			if r := check(l[0], from("192.0.2.2")); !r.Allowed() {
				t.Fatal("another address is denied")
			} else {
				r.Release(ctx)
			}
		}
		held[0].Settle(ctx, ratelimit.Response{Status: 200})
		if check(l[1], from("192.0.2.1")).Allowed() {
			t.Fatal("a response that has begun gives the place back")
		}
		held[0].Release(ctx)
		held[0].Release(ctx)
		if held[0] = check(l[1], from("192.0.2.1")); !held[0].Allowed() {
			t.Fatal("denied after a release")
		}
		if check(l[0], from("192.0.2.1")).Allowed() {
			t.Fatal("a place was given back twice")
		}
		held[1].Refund(ctx)
		held[1].Release(ctx)
		if held[1] = check(l[0], from("192.0.2.1")); !held[1].Allowed() {
			t.Fatal("denied after a refund")
		}
		for _, r := range held {
			r.Release(ctx)
		}
		if here.LeasesHeld()+there.LeasesHeld() != 0 {
			t.Errorf("%d and %d leases are left", here.LeasesHeld(), there.LeasesHeld())
		}
	})
}

// TestADenialHoldsNoPlace: limits of one request are all or nothing, whichever of them denies.
func TestADenialHoldsNoPlace(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	onEachCounters(t, func(t *testing.T, here, there *ratelimit.Counters) {
		window := limit("w", ratelimit.FixedWindow, 2, time.Hour)
		both, alone := newLimiter(t, here, inFlight("a", 1), window), newLimiter(t, there, inFlight("a", 1))
		first := check(both, from("192.0.2.1"))
		if !first.Allowed() || check(both, from("192.0.2.1")).Allowed() {
			t.Fatal("one place admits one request")
		}
		first.Release(ctx)
		second := check(both, from("192.0.2.1"))
		if !second.Allowed() {
			t.Fatal("the denial has consumed of the window")
		}
		second.Release(ctx)
		if r := check(both, from("192.0.2.1")); r.Allowed() || r.DeniedBy() != "w" {
			t.Fatal("a third request passes the window of two")
		}
		if r := check(alone, from("192.0.2.1")); !r.Allowed() {
			t.Error("the window's denial holds a place")
		} else {
			r.Release(ctx)
		}
	})
}

func TestPlansDryRunAndAllowOfPlaces(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	onEachCounters(t, func(t *testing.T, here, there *ratelimit.Counters) {
		l := inFlight("a", 1)
		l.Plans = map[string]int64{ratelimit.PlanUser: 2, "gold": 3}
		l.Allow = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		a, b := newLimiter(t, here, l), newLimiter(t, there, l)
		as := func(s ratelimit.Subject) *ratelimit.Request {
			r := from("192.0.2.1")
			r.Subject = s
			return r
		}
		user, gold := ratelimit.Subject{User: "ada"}, ratelimit.Subject{User: "ada", SessionPlan: "gold"}
		for i, tc := range []struct {
			l    *ratelimit.Limiter
			who  ratelimit.Subject
			want bool
		}{
			{a, ratelimit.Subject{}, true}, {b, ratelimit.Subject{}, false}, {b, user, true}, {a, user, false}, {a, gold, true}, {b, gold, false},
		} { // the places of a key are the same ones, whatever the plan
			if got := check(tc.l, as(tc.who)).Allowed(); got != tc.want {
				t.Errorf("request %d: %v", i+1, got)
			}
		}
		for range 5 {
			if r := check(a, from("198.51.100.7")); !r.Allowed() || r.Holds() {
				t.Error("an allowed network is limited")
			}
		}
		dry := inFlight("dry", 1)
		dry.DryRun = true
		d := newLimiter(t, here, dry)
		first, second := check(d, from("192.0.2.1")), check(d, from("192.0.2.1"))
		if !first.Holds() || !second.Allowed() || second.Holds() || second.DryRunDeniedBy() != "dry" {
			t.Errorf("a dry run: %v %v %v", first.Holds(), second.Allowed(), second.DryRunDeniedBy())
		}
		first.Release(ctx)
		if r := check(d, from("192.0.2.1")); r.DryRunDeniedBy() != "" {
			t.Error("a dry run's place is not given back")
		}
	})
}

// TestPlacesAreExactUnderLoad: no more than the limit at any moment, and none is lost.
func TestPlacesAreExactUnderLoad(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	onEachCounters(t, func(t *testing.T, here, there *ratelimit.Counters) {
		l := []*ratelimit.Limiter{newLimiter(t, here, inFlight("a", 5)), newLimiter(t, there, inFlight("a", 5))}
		var now, most, admitted atomic.Int64
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				for range 100 {
					r := check(l[i%2], from("192.0.2.1"))
					if !r.Allowed() {
						continue
					}
					n := now.Add(1)
					for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
					}
					admitted.Add(1)
					now.Add(-1)
					r.Release(ctx)
				}
			})
		}
		wg.Wait()
		if most.Load() > 5 || admitted.Load() == 0 {
			t.Errorf("%d at once under a limit of 5; %d in all", most.Load(), admitted.Load())
		}
		for i := range 6 {
			if got := check(l[0], from("192.0.2.1")).Allowed(); got != (i < 5) {
				t.Errorf("afterwards, request %d: %v", i+1, got)
			}
		}
	})
}

// TestPlacesInMemoryAndRedisAreTheSame runs histories at random through both backends, under one clock.
func TestPlacesInMemoryAndRedisAreTheSame(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	shared := openStore(t, s.URL)
	run := 0
	ctx := context.Background()
	nothing := func() bool { return false } // is settled while a request would wait
	rapid.Check(t, func(t *rapid.T) {
		run++
		clk := newClock()
		backends := [2]*ratelimit.Counters{}
		for i, o := range []ratelimit.CountersOptions{{Now: clk.now, SettleNext: nothing}, {Now: clk.now, SettleNext: nothing, Redis: shared}} {
			c, err := ratelimit.NewCounters(o)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			backends[i] = c
		}
		backends[1].SetRedisClock(clk.micros)
		limits := []ratelimit.Limit{{
			Name: fmt.Sprintf("run%d", run), Concurrent: rapid.Int64Range(1, 4).Draw(t, "concurrent"),
			DryRun: rapid.IntRange(0, 4).Draw(t, "dry") == 0, Plans: map[string]int64{"gold": rapid.Int64Range(1, 6).Draw(t, "gold")},
		}}
		if rapid.Bool().Draw(t, "beside a window") {
			limits = append(limits, drawLimit(t, fmt.Sprintf("run%d-w", run), rapid.SampledFrom(algorithms).Draw(t, "algorithm")))
		}
		var limiters [2]*ratelimit.Limiter
		for i := range limiters {
			l, err := ratelimit.New(ratelimit.Options{Limits: limits, Counters: backends[i]})
			if err != nil {
				t.Fatal(err)
			}
			limiters[i] = l
		}
		var open [][2]*ratelimit.Result
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0: // time passes, and the leases are renewed
				clk.add(time.Duration(rapid.Int64Range(0, int64(ratelimit.LeaseFor)-1).Draw(t, "by")).Truncate(time.Microsecond))
				backends[1].RenewLeases()
			case 1, 2: // a response is complete, or was a wrong guess
				if len(open) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				refund := i == len(open)-1 && rapid.Bool().Draw(t, "refund")
				for _, r := range open[i] {
					if refund {
						r.Refund(ctx)
					} else {
						r.Settle(ctx, ratelimit.Response{Status: 200})
					}
					r.Release(ctx)
				}
				open = append(open[:i], open[i+1:]...)
			default:
				r := from("192.0.2.1")
				if rapid.Bool().Draw(t, "gold") {
					r.Client, r.Plan = "acme", "gold"
				}
				var pair [2]*ratelimit.Result
				for i := range pair {
					backends[i].ForgetDenials()
					mine := *r
					pair[i] = check(limiters[i], &mine)
				}
				ignore := cmpopts.IgnoreFields(ratelimit.Named{}, "Source")
				if diff := cmp.Diff(pair[0].Decisions(), pair[1].Decisions(), ignore, cmpopts.IgnoreUnexported(ratelimit.Decision{})); diff != "" || pair[0].Holds() != pair[1].Holds() {
					t.Fatalf("memory (-) and Redis (+) differ, limits %+v:\n%s", limits, diff)
				}
				if pair[0].Allowed() {
					open = append(open, pair)
				}
			}
		}
	})
	s.AssertEveryKeyExpires(t)
}

// TestPlacesOfAnInstanceThatWasKilledAreFree: its leases end by themselves, those of others do not.
func TestPlacesOfAnInstanceThatWasKilledAreFree(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := redistest.Start(t)
	clk := newClock()
	var all [2]*ratelimit.Counters
	for i := range all {
		c, err := ratelimit.NewCounters(ratelimit.CountersOptions{Redis: openStore(t, s.URL), Now: clk.now})
		if err != nil {
			t.Fatal(err)
		}
		all[i] = c
		all[i].SetRedisClock(clk.micros)
	}
	defer all[1].Close()
	killed, alive := newLimiter(t, all[0], inFlight("a", 3)), newLimiter(t, all[1], inFlight("a", 3))
	check(killed, from("192.0.2.1"))
	check(killed, from("192.0.2.1"))
	all[0].Close() // it renews no more
	kept := check(alive, from("192.0.2.1"))
	for range 3 {
		if check(alive, from("192.0.2.1")).Allowed() {
			t.Fatal("a fourth")
		}
		clk.add(ratelimit.LeaseFor / 3)
		all[1].RenewLeases()
	}
	clk.add(ratelimit.LeaseFor / 3)
	for i := range 3 {
		if got := check(alive, from("192.0.2.1")).Allowed(); got != (i < 2) {
			t.Errorf("after %v, request %d: %v; the kept one holds its place", ratelimit.LeaseFor, i+1, got)
		}
	}
	kept.Release(ctx)
}

// TestRenewalsPutPlacesBack: a Redis that starts again with nothing knows the requests in flight a moment later.
func TestRenewalsPutPlacesBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := redistest.Start(t)
	c := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL)})
	l := newLimiter(t, c, inFlight("a", 2))
	first, second := check(l, from("192.0.2.1")), check(l, from("192.0.2.1"))
	s.FlushAll()
	eventually(t, time.Minute, "the leases are put back", func() bool {
		p, err := l.Peek(ctx, from("192.0.2.1"))
		return err == nil && p[0].Remaining == 0
	})
	if check(l, from("192.0.2.1")).Allowed() {
		t.Error("a third is admitted")
	}
	first.Release(ctx)
	c.RenewLeases() // does not bring it back
	if r := check(l, from("192.0.2.1")); !r.Allowed() {
		t.Error("a released place is not free")
	} else {
		r.Release(ctx)
	}
	second.Release(ctx)
}

// TestRenewalsAreFewCommands: not one for each request, but one for many keys.
func TestRenewalsAreFewCommands(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL)})
	l := newLimiter(t, c, inFlight("a", 1000))
	for i := range 1000 {
		check(l, from(addressOf(i%100)))
	}
	before := s.CommandCount(t, "evalsha", "eval")
	c.RenewLeases()
	if n := s.CommandCount(t, "evalsha", "eval") - before; n < 1 || n > 20 { // at most those of the ticker in between, too
		t.Errorf("%d scripts renew 1000 leases of 100 keys", n)
	}
	if p, err := l.Peek(context.Background(), from(addressOf(7))); err != nil || p[0].Remaining != 990 {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestPlacesWhileRedisIsAway: each instance goes on from those that it holds, and what it has admitted counts when Redis is back.
func TestPlacesWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := redistest.Start(t)
	c := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL)})
	local, open, closed := inFlight("local", 2), inFlight("open", 1), inFlight("closed", 1)
	open.OnRedisError, closed.OnRedisError = ratelimit.Open, ratelimit.Closed
	l := newLimiter(t, c, local)
	held := []*ratelimit.Result{check(l, from("192.0.2.1"))}
	s.Kill()
	if r := check(newLimiter(t, c, open), from("192.0.2.1")); !r.Allowed() || r.Holds() {
		t.Error("open: denied, or a place is held")
	}
	if r := check(newLimiter(t, c, closed), from("192.0.2.1")); r.Allowed() || !r.Unavailable() {
		t.Error("closed: admitted")
	}
	if r := check(l, from("192.0.2.1")); !r.Allowed() || !r.Holds() {
		t.Fatal("local: the second is denied")
	} else {
		held = append(held, r)
	}
	if check(l, from("192.0.2.1")).Allowed() {
		t.Error("local: a third is admitted; the one from before the outage is in flight")
	}
	s.Restart()
	eventually(t, time.Minute, "Redis knows the requests in flight", func() bool {
		p, err := l.Peek(ctx, from("192.0.2.1"))
		return err == nil && p[0].Source == ratelimit.FromRedis && p[0].Remaining == 0
	})
	if check(l, from("192.0.2.1")).Allowed() {
		t.Error("a third is admitted after the outage")
	}
	for _, r := range held {
		r.Release(ctx)
	}
	if p, err := l.Peek(ctx, from("192.0.2.1")); err != nil || p[0].Remaining != 2 {
		t.Errorf("after the releases: %+v, %v", p, err)
	}
}

// TestPlacesInACluster: limits with other keys lie in other slots.
func TestPlacesInACluster(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	cluster := redistest.StartCluster(t)
	c := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, cluster.URL)})
	byUser := inFlight("user", 1)
	byUser.Key = []ratelimit.KeyPart{{Kind: ratelimit.KeyUser}}
	l := newLimiter(t, c, inFlight("ip", 40), byUser)
	as := func(user string) *ratelimit.Request {
		r := from("192.0.2.1")
		r.User = user
		return r
	}
	var held []*ratelimit.Result
	for i := range 20 {
		user := fmt.Sprint("user", i)
		r := check(l, as(user))
		if !r.Allowed() || check(l, as(user)).Allowed() {
			t.Fatalf("%s: one place each", user)
		}
		held = append(held, r)
	}
	c.RenewLeases()
	p, err := l.Peek(ctx, as("user0"))
	if err != nil || p[0].Remaining != 20 || p[1].Remaining != 0 {
		t.Errorf("what another slot has denied holds a place: %+v, %v", p, err)
	}
	for _, r := range held {
		r.Release(ctx)
	}
	if p, err := l.Peek(ctx, as("user0")); err != nil || p[0].Remaining != 40 || p[1].Remaining != 1 {
		t.Errorf("after the releases: %+v, %v", p, err)
	}
}

// TestMiddlewareHoldsThePlaceUntilTheHandlerReturns, by a panic too.
func TestMiddlewareHoldsThePlaceUntilTheHandlerReturns(t *testing.T) {
	t.Parallel()
	c := newCounters(t, ratelimit.CountersOptions{})
	e := echo.New()
	e.Use(newLimiter(t, c, inFlight("a", 1)).Middleware(ratelimit.MiddlewareOptions{}))
	e.GET("/", func(c echo.Context) error {
		inner := httptest.NewRecorder()
		if c.QueryParam("inner") == "" {
			e.ServeHTTP(inner, httptest.NewRequest(http.MethodGet, "/?inner=1", nil))
		}
		if c.QueryParam("panic") != "" {
			panic("handler")
		}
		return c.String(inner.Code, "")
	})
	for _, target := range []string{"/", "/?panic=1", "/"} {
		func() {
			defer func() { _ = recover() }()
			w := httptest.NewRecorder()
			e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
			if w.Code != http.StatusTooManyRequests {
				t.Errorf("within the request, another: %d", w.Code)
			}
		}()
		if n := c.LeasesHeld(); n != 0 {
			t.Fatalf("%s: %d places are held after the request", target, n)
		}
	}
}

// TestAPlanOfNoPlaces denies always, as a plan of no requests does.
func TestAPlanOfNoPlaces(t *testing.T) {
	t.Parallel()
	onEachCounters(t, func(t *testing.T, here, _ *ratelimit.Counters) {
		l := inFlight("a", 1)
		l.Plans = map[string]int64{"free": 0}
		free := from("192.0.2.1")
		free.Client, free.Plan = "acme", "free"
		limiter := newLimiter(t, here, l)
		if r := check(limiter, free); r.Allowed() || !r.Closed() || r.Holds() {
			t.Errorf("on a plan of none: allowed %v, closed %v", r.Allowed(), r.Closed())
		}
		if r := check(limiter, from("192.0.2.1")); !r.Allowed() {
			t.Error("on no plan: denied")
		}
	})
}
