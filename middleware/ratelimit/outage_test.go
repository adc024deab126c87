package ratelimit_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/store"
	"github.com/labstack/echo/v4"
)

func impatient(t testing.TB, url string) *store.Redis {
	t.Helper()
	r, err := store.Open(store.Options{URL: url, Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func TestWhileRedisIsAwayEachLimitDoesAsItSays(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := newCounters(t, ratelimit.CountersOptions{Redis: impatient(t, s.URL)})
	of := func(o ratelimit.OnRedisError) *ratelimit.Limiter {
		x := limit("x-"+string(o), ratelimit.FixedWindow, 2, time.Hour)
		x.OnRedisError = o
		return newLimiter(t, c, x)
	}
	local, open, closed := of(ratelimit.Local), of(ratelimit.Open), of(ratelimit.Closed)
	for range 2 { // all are exhausted in Redis
		for _, l := range []*ratelimit.Limiter{local, open, closed} {
			if !check(l, from("192.0.2.1")).Allowed() {
				t.Fatal("denied")
			}
		}
	}
	s.Stop()

	for i := range 3 {
		if o := check(local, from("192.0.2.1")); o.Allowed() {
			t.Fatalf("local, admitted beyond what Redis has said: %+v", o.Decisions())
		}
		o := check(local, from("192.0.2.9"))
		if o.Allowed() != (i < 2) || i < 2 && o.Decisions()[0].Source != ratelimit.FromLocal {
			t.Fatalf("local, request %d: %+v", i+1, o.Decisions())
		}
		if !check(open, from("192.0.2.1")).Allowed() {
			t.Fatal("open, and denied")
		}
		o = check(closed, from("192.0.2.1"))
		if o.Allowed() || !o.Unavailable() {
			t.Fatal("closed, and allowed")
		}
		w := httptest.NewRecorder()
		o.Deny(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Fatalf("closed: %d %v", w.Code, w.Header())
		}
	}

	s.Restart()
	// Back, and empty: what was admitted meanwhile is reported, and local denials are dropped.
	eventually(t, 15*time.Second, "counted in Redis again", func() bool {
		c.ForgetDenials()
		d := check(local, from("192.0.2.1")).Decisions()
		return len(d) == 1 && d[0].Source == ratelimit.FromRedis
	})
	eventually(t, 5*time.Second, "what was admitted is reported", func() bool { return c.ReportsDue() == 0 })
	c.ForgetDenials()
	if d := check(local, from("192.0.2.9")).Decisions()[0]; d.Allowed || d.Source != ratelimit.FromRedis {
		t.Errorf("after the report: %+v", d)
	}
}

// TestAHangingRedisDelaysFewRequests: it accepts, and says nothing.
func TestAHangingRedisDelaysFewRequests(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := newCounters(t, ratelimit.CountersOptions{Redis: impatient(t, s.URL)})
	l := newLimiter(t, c, limit("x", ratelimit.SlidingWindow, 1000, time.Hour))
	if !check(l, from("192.0.2.1")).Allowed() {
		t.Fatal("denied")
	}
	s.Pause()
	begin := time.Now()
	for range 300 {
		if !check(l, from("192.0.2.1")).Allowed() {
			t.Fatal("denied, though local counters have room")
		}
	}
	if took := time.Since(begin); took > 10*time.Second { // 300 timeouts would be a minute
		t.Fatalf("300 requests took %v", took)
	}
	s.Resume()
	eventually(t, 15*time.Second, "counted in Redis again", func() bool {
		return check(l, from("192.0.2.2")).Decisions()[0].Source == ratelimit.FromRedis
	})
}

func TestAClosedLimitOfADryRunClosesNothing(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := newCounters(t, ratelimit.CountersOptions{Redis: impatient(t, s.URL)})
	s.Stop()
	x := limit("x", ratelimit.FixedWindow, 1, time.Hour)
	x.OnRedisError, x.DryRun = ratelimit.Closed, true
	e := echo.New()
	e.Use(newLimiter(t, c, x).Middleware(ratelimit.MiddlewareOptions{}))
	e.GET("/", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != http.StatusNoContent {
		t.Fatal(w.Code)
	}
}

// A Redis that is full answers each script with an error.
func TestARedisThatRefusesToWriteIsTakenAsAway(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := newCounters(t, ratelimit.CountersOptions{Redis: impatient(t, s.URL)})
	l := newLimiter(t, c, limit("x", ratelimit.SlidingLog, 2, time.Hour))
	if err := s.Client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		o := check(l, from("192.0.2.1"))
		if o.Allowed() != (i < 2) {
			t.Fatalf("request %d: %+v", i+1, o.Decisions())
		}
		if d := o.Decisions()[0]; i < 2 && d.Source != ratelimit.FromLocal {
			t.Fatalf("decided by %s", d.Source)
		}
	}
	if err := s.Client.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "counted in Redis again", func() bool {
		d := check(l, from("192.0.2.1")).Decisions()
		return len(d) == 1 && d[0].Source == ratelimit.FromRedis
	})
}

// Redis answers, but has no memory to count in. What is counted here meanwhile must
// hold for as long as that lasts.
func TestLocalCountersLastAsLongAsRedisCannotCount(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := newCounters(t, ratelimit.CountersOptions{Redis: impatient(t, s.URL)})
	l := newLimiter(t, c, limit("x", ratelimit.FixedWindow, 5, time.Hour))
	if err := s.Client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	admitted := 0
	for end := time.Now().Add(3500 * time.Millisecond); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if check(l, from("192.0.2.1")).Allowed() {
			admitted++
		}
		check(l, from("192.0.2.2")) // others are there too
	}
	if admitted != 5 {
		t.Errorf("%d admitted of 5 an hour", admitted)
	}
}
