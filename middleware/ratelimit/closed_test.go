package ratelimit_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/labstack/echo/v4"
)

// TestALimitOfZeroDeniesAlways, with 403 and the reason: at its own size or a plan's, by every
// algorithm, at no cost to Redis or to other limits, and without a ban.
func TestALimitOfZeroDeniesAlways(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for name, c := range map[string]*ratelimit.Counters{
		"memory": newCounters(t, ratelimit.CountersOptions{}),
		"redis":  newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL)}),
	} {
		for _, a := range algorithms {
			zero, free := limit("zero", a, 0, time.Hour), limit("free", a, 5, time.Hour)
			free.Plans, free.Cost = map[string]int64{"free": 0}, 3
			zero.Plans, zero.Count.Failed = map[string]int64{"gold": 4}, true
			zero.Allow = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
			zero.Ban, free.Ban = ratelimit.Ban{After: 1, For: time.Hour}, ratelimit.Ban{After: 1, For: time.Hour}
			wide := limit("wide-"+string(a), ratelimit.FixedWindow, 10, time.Hour)
			for i, l := range []*ratelimit.Limiter{newLimiter(t, c, wide, zero), newLimiter(t, c, free, wide)} {
				r := from("192.0.2.1")
				r.NoSession = true
				want := `The limit "zero" admits no requests.`
				if i == 1 {
					r.Plan, want = "free", `The limit "free" admits no requests on the plan "free".`
				}
				before := s.CommandCount(t, "evalsha", "eval")
				const requests = 50
				for range requests {
					o := check(l, r)
					if early := l.Denied(r); o.Allowed() || !o.Closed() || o.Status() != 403 || o.RetryAfter() != 0 || o.Reason() != want || early == nil || early.Status() != 403 {
						t.Fatalf("%s, %s: %d, %q, %+v", name, a, o.Status(), o.Reason(), o.Decisions())
					}
					o.Settle(t.Context(), failed)
				}
				// The counters themselves run a script now and then, such as to list who is denied.
				if n := s.CommandCount(t, "evalsha", "eval") - before; n > requests/5 {
					t.Errorf("%s, %s: %d requests have cost %d scripts", name, a, requests, n)
				}
			}
			l := newLimiter(t, c, zero, wide)
			gold, allowed := from("192.0.2.1"), from("198.51.100.1")
			gold.Plan = "gold"
			for range 2 {
				if o := check(l, gold); !o.Allowed() {
					t.Errorf("%s, %s: a plan that has a number: %+v", name, a, o.Decisions())
				}
			}
			if !check(l, allowed).Allowed() {
				t.Errorf("%s, %s: a network that is never limited", name, a)
			}
			if states, err := c.Inspect(t.Context(), wide, "192.0.2.1"); err != nil || states[0].Remaining != 8 {
				t.Errorf("%s, %s: what was denied has consumed: %+v, %v", name, a, states, err)
			}
			states, err := c.Inspect(t.Context(), zero, "192.0.2.1")
			if err != nil || !states[0].Closed || states[1].Closed || states[1].Remaining != 2 {
				t.Errorf("%s, %s: %+v, %v", name, a, states, err)
			}
			if p, err := l.Peek(t.Context(), from("192.0.2.1")); err != nil || !p[0].Closed || p[0].Allowed || !p[1].Allowed {
				t.Errorf("%s, %s: %+v, %v", name, a, p, err)
			}
		}
	}
	s.AssertEveryKeyExpires(t)
}

// TestADryRunOfZeroDeniesNobody, and the other limits count as ever.
func TestADryRunOfZeroDeniesNobody(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, c *ratelimit.Counters) {
		dry, two := limit("dry", ratelimit.TokenBucket, 0, time.Hour), limit("two", ratelimit.SlidingWindow, 2, time.Hour)
		dry.DryRun = true
		if o := check(newLimiter(t, c, dry), from("192.0.2.1")); !o.Allowed() || o.DryRunDeniedBy() != "dry" {
			t.Errorf("alone: %+v", o.Decisions())
		}
		l := newLimiter(t, c, dry, two)
		for i := range 4 {
			o := check(l, from("192.0.2.1"))
			if o.Allowed() != (i < 2) || o.Closed() || i < 2 && o.DryRunDeniedBy() != "dry" || i >= 2 && o.Status() != 429 {
				t.Errorf("request %d: %+v", i+1, o.Decisions())
			}
		}
	})
}

func TestWhatClientsAreToldOfALimitOfZero(t *testing.T) {
	t.Parallel()
	for style, want := range map[ratelimit.HeaderStyle]http.Header{
		ratelimit.HeadersDraft:  {"Ratelimit-Policy": {`"zero";q=0;w=3600`}, "Ratelimit": {`"zero";r=0`}},
		ratelimit.HeadersLegacy: {"X-Ratelimit-Limit": {"0"}, "X-Ratelimit-Remaining": {"0"}},
		ratelimit.HeadersOff:    {},
	} {
		zero := limit("zero", ratelimit.TokenBucket, 0, time.Hour)
		zero.Burst = 7
		e := echo.New()
		e.Use(ratelimit.Middleware(ratelimit.Options{Limits: []ratelimit.Limit{zero}, Headers: style}))
		rec := httptest.NewRecorder()
		e.ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
		if rec.Code != 403 || rec.Body.String() != `{"type":"about:blank","title":"Forbidden","status":403,"detail":"The limit \"zero\" admits no requests."}` {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
		for _, name := range []string{"Ratelimit-Policy", "Ratelimit", "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset", "Retry-After"} {
			if got := rec.Header()[name]; len(got) != len(want[name]) || len(got) == 1 && got[0] != want[name][0] {
				t.Errorf("%s: %s: %q, want %q", style, name, got, want[name])
			}
		}
	}
}
