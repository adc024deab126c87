package ratelimit_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/labstack/echo/v4"
)

// byAccount is a limit of failed attempts at an account.
func byAccount(a ratelimit.Algorithm, requests int64, more ...ratelimit.KeyPart) ratelimit.Limit {
	l := limit("guesses", a, requests, 24*time.Hour)
	l.Key = append([]ratelimit.KeyPart{{Kind: ratelimit.KeyAccount}}, more...)
	l.Count = ratelimit.Count{Failed: true}
	return l
}

// attempt is an attempt at an account from an address.
func attempt(l *ratelimit.Limiter, addr, account, device string, status int) *ratelimit.Result {
	return l.CheckAttempt(context.Background(), from(addr), ratelimit.LoginAttempt{
		Account: account, Device: device, Response: ratelimit.Response{Status: status},
	})
}

func TestFailedAttemptsAtOneAccountMeetALimitWhereverTheyComeFrom(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, c *ratelimit.Counters) {
		for _, a := range algorithms {
			x := byAccount(a, 3)
			x.Name = "guesses-" + string(a)
			l := newLimiter(t, c, x)
			for i := range 3 {
				if !attempt(l, addressOf(i), "alice", "", 200).Allowed() { // which costs nothing
					t.Fatalf("%s: a right password is denied", a)
				}
				if !attempt(l, addressOf(i), "alice", "", 401).Allowed() {
					t.Fatalf("%s: wrong password %d is denied", a, i+1)
				}
			}
			for i, status := range []int{200, 401, 200, 401} {
				res := attempt(l, addressOf(100+i), "alice", "", status)
				if res.Allowed() || res.DeniedBy() != x.Name || res.RetryAfter() < 60 {
					t.Fatalf("%s: %d passes a spent limit: %+v", a, status, res.Decisions())
				}
				if res.NeedsResponse() {
					t.Fatalf("%s: there is something to settle", a)
				}
			}
			for _, other := range []string{"Alice", "alice ", "bob", "\xe4"} {
				if !attempt(l, addressOf(1), other, "", 401).Allowed() {
					t.Errorf("%s: the account %q is denied", a, other)
				}
			}
		}
	})
}

// Those who guess can't lock out the account's user, whose browser is known; a device that is
// known gives its holder one more counter, and no more.
func TestAKnownDeviceHasACounterOfItsOwn(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, c *ratelimit.Counters) {
		l := newLimiter(t, c, byAccount(ratelimit.FixedWindow, 2))
		for range 3 {
			attempt(l, "192.0.2.1", "alice", "", 401)
		}
		for i, status := range []int{200, 401, 200, 401, 200, 401} {
			want := i < 4
			if got := attempt(l, "192.0.2.1", "alice", "laptop", status).Allowed(); got != want {
				t.Fatalf("attempt %d from the known device: %v", i+1, got)
			}
		}
		for device, want := range map[string]bool{"phone": true, "laptop": false, "": false} {
			if got := attempt(l, "192.0.2.2", "alice", device, 200).Allowed(); got != want {
				t.Errorf("device %q: %v", device, got)
			}
		}
		for account, want := range map[string]bool{"device:laptop:alice": false, "device:phone:alice": true, "alice": false, "device::alice": true} {
			states, err := c.Inspect(context.Background(), byAccount(ratelimit.FixedWindow, 2), account)
			if err != nil || states[0].Allowed != want {
				t.Errorf("%s: %+v, %v", account, states, err)
			}
		}
		for _, key := range []string{"alice", "device:laptop:alice"} {
			if err := c.Reset(context.Background(), byAccount(ratelimit.FixedWindow, 2), key); err != nil {
				t.Fatal(err)
			}
		}
		for _, device := range []string{"laptop", ""} {
			if !attempt(l, "192.0.2.2", "alice", device, 401).Allowed() {
				t.Errorf("device %q after a reset", device)
			}
		}
	})
}

func TestALimitByAccountTakesNoPartInAdmission(t *testing.T) {
	t.Parallel()
	c := newCounters(t, ratelimit.CountersOptions{})
	perIP := limit("per-ip", ratelimit.FixedWindow, 100, time.Hour)
	l := newLimiter(t, c, byAccount(ratelimit.FixedWindow, 1), perIP)
	for range 2 {
		attempt(l, "192.0.2.1", "alice", "", 401)
	}
	r := from("192.0.2.1")
	if l.Denied(r) != nil {
		t.Error("the deny cache denies before the app has answered")
	}
	res := check(l, r)
	h := http.Header{}
	if res.WriteHeaders(h); !res.Allowed() || res.NeedsResponse() || h.Get("RateLimit-Policy") != `"per-ip";q=100;w=3600` || !strings.HasPrefix(h.Get("RateLimit"), `"per-ip";r=99;`) {
		t.Errorf("%v %v", res.Allowed(), h)
	}
	if previews, err := l.Peek(context.Background(), r); err != nil || len(previews) != 1 {
		t.Errorf("%+v, %v", previews, err)
	}
	denied := attempt(l, "192.0.2.1", "alice", "", 200)
	w := httptest.NewRecorder()
	denied.Deny(w, httptest.NewRequest("POST", "/", nil))
	if w.Code != 429 || w.Header().Get("RateLimit-Policy") != `"guesses";q=1;w=86400` || !strings.Contains(w.Body.String(), `["guesses"]`) {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	legacy, err := ratelimit.New(ratelimit.Options{Limits: []ratelimit.Limit{byAccount(ratelimit.FixedWindow, 1), perIP}, Counters: c, Headers: ratelimit.HeadersLegacy})
	if err != nil {
		t.Fatal(err)
	}
	w = httptest.NewRecorder()
	check(legacy, r).WriteHeaders(w.Header())
	attempt(legacy, "192.0.2.1", "alice", "", 200).Deny(w, httptest.NewRequest("POST", "/", nil))
	if got := w.Header()["X-Ratelimit-Remaining"]; !slices.Equal(got, []string{"0"}) {
		t.Errorf("X-RateLimit-Remaining: %q", got)
	}
	if newLimiter(t, c, perIP).CheckAttempt(context.Background(), r, ratelimit.LoginAttempt{Account: "alice"}) != nil {
		t.Error("there is no limit by account, and a Result")
	}
}

func TestWhichAttemptsCount(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		edit func(*ratelimit.Limit)
		resp ratelimit.Response
		want int // how many of three pass a limit of one
	}{
		"failed, and it failed":         {nil, ratelimit.Response{Status: 401}, 1},
		"failed, and it did not":        {nil, ratelimit.Response{Status: 303}, 3},
		"failed, and the gateway fails": {nil, ratelimit.Response{Status: 502, Own: true}, 3},
		"all":                           {func(l *ratelimit.Limit) { l.Count = ratelimit.Count{} }, ratelimit.Response{Status: 200}, 1},
		"a listed status":               {func(l *ratelimit.Limit) { l.Count = ratelimit.Count{Statuses: []int{401}} }, ratelimit.Response{Status: 401}, 1},
		"one that is not":               {func(l *ratelimit.Limit) { l.Count = ratelimit.Count{Statuses: []int{401}} }, ratelimit.Response{Status: 403}, 3},
		"a dry run":                     {func(l *ratelimit.Limit) { l.DryRun = true }, ratelimit.Response{Status: 401}, 3},
		"an allowed network":            {func(l *ratelimit.Limit) { l.Allow = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }, ratelimit.Response{Status: 401}, 3},
		"a plan":                        {func(l *ratelimit.Limit) { l.Plans = map[string]int64{"gold": 2} }, ratelimit.Response{Status: 401}, 2},
		"zero requests":                 {func(l *ratelimit.Limit) { l.Requests = 0 }, ratelimit.Response{Status: 200}, 0},
		"zero requests in a dry run":    {func(l *ratelimit.Limit) { l.Requests, l.DryRun = 0, true }, ratelimit.Response{Status: 401}, 3},
		"a cost":                        {func(l *ratelimit.Limit) { l.Requests, l.Cost = 5, 3 }, ratelimit.Response{Status: 401}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := byAccount(ratelimit.FixedWindow, 1)
			if tt.edit != nil {
				tt.edit(&x)
			}
			l := newLimiter(t, newCounters(t, ratelimit.CountersOptions{}), x)
			r := from("192.0.2.1")
			r.Plan = "gold"
			passed := 0
			for range 3 {
				if l.CheckAttempt(context.Background(), r, ratelimit.LoginAttempt{Account: "alice", Response: tt.resp}).Allowed() {
					passed++
				}
			}
			if passed != tt.want {
				t.Errorf("%d passed", passed)
			}
		})
	}
}

// Where one limit denies, another is not charged, also where only one of them counts the attempt.
func TestAnAttemptThatIsDeniedIsChargedToNoLimit(t *testing.T) {
	t.Parallel()
	test := func(t *testing.T, c *ratelimit.Counters) {
		few := byAccount(ratelimit.FixedWindow, 1)
		few.Name = "few"
		every := byAccount(ratelimit.SlidingWindow, 3)
		every.Name, every.Count = "every", ratelimit.Count{}
		here := byAccount(ratelimit.SlidingLog, 2, ratelimit.KeyPart{Kind: ratelimit.KeyIP})
		here.Name = "here"
		l := newLimiter(t, c, every, few, here)
		left := func(x ratelimit.Limit, key ...string) int64 {
			states, err := c.Inspect(context.Background(), x, key...)
			if err != nil {
				t.Fatal(err)
			}
			return states[0].Remaining
		}
		for i, want := range []bool{true, false, false} {
			if got := attempt(l, "192.0.2.1", "alice", "", 401).Allowed(); got != want {
				t.Fatalf("attempt %d: %v", i+1, got)
			}
		}
		if attempt(l, "192.0.2.1", "alice", "", 200).Allowed() {
			t.Error("a right password passes the spent limit")
		}
		eventually(t, 10*time.Second, "what was taken in another slot is back", func() bool {
			return left(every, "alice") == 2 && left(here, "alice", "192.0.2.1") == 1
		})
	}
	backends(t, test)
	t.Run("a Cluster", func(t *testing.T) {
		t.Parallel()
		test(t, newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, redistest.StartCluster(t).URL)}))
	})
}

func TestAnAccountIsBannedForUnknownDevicesAlone(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, c *ratelimit.Counters) {
		x := byAccount(ratelimit.FixedWindow, 1)
		x.Window, x.Ban = time.Minute, ratelimit.Ban{After: 2, For: time.Hour}
		l := newLimiter(t, c, x)
		var res *ratelimit.Result
		for range 3 {
			res = attempt(l, "192.0.2.1", "alice", "", 401)
		}
		if d := res.Decisions(); len(d) != 1 || !d[0].Banned || res.RetryAfter() < 3000 {
			t.Errorf("no ban: %+v", d)
		}
		if !attempt(l, "192.0.2.1", "alice", "laptop", 401).Allowed() {
			t.Error("a known device is banned as well")
		}
	})
}

// However many instances are asked at once, no more answers than the limit's requests tell that a
// password is wrong, and none tells of the right one once they have been spent.
func TestParallelAttemptsAtSeveralInstancesAreCountedExactly(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for _, a := range algorithms {
		t.Run(string(a), func(t *testing.T) {
			t.Parallel()
			x := byAccount(a, 10)
			x.Name = "guesses-" + string(a)
			var instances []*ratelimit.Limiter
			for range 3 {
				instances = append(instances, newLimiter(t, newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL)}), x))
			}
			var told atomic.Int32
			var wg sync.WaitGroup
			for i := range 200 {
				wg.Go(func() {
					if attempt(instances[i%3], addressOf(i), "alice", "", 401).Allowed() {
						told.Add(1)
					}
				})
			}
			wg.Wait()
			if told.Load() != 10 {
				t.Errorf("%d answers tell that a password is wrong, under a limit of 10", told.Load())
			}
			for i, l := range instances {
				if attempt(l, "192.0.2.1", "alice", "", 200).Allowed() {
					t.Errorf("instance %d tells of the right password", i)
				}
			}
		})
	}
}

func TestAttemptsWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := newCounters(t, ratelimit.CountersOptions{Redis: impatient(t, s.URL)})
	of := func(o ratelimit.OnRedisError) *ratelimit.Limiter {
		x := byAccount(ratelimit.FixedWindow, 2)
		x.Name, x.OnRedisError = "guesses-"+string(o), o
		return newLimiter(t, c, x)
	}
	local, open, closed := of(ratelimit.Local), of(ratelimit.Open), of(ratelimit.Closed)
	s.Stop()
	for i := range 3 {
		if got, want := attempt(local, "192.0.2.1", "alice", "", 401).Allowed(), i < 2; got != want {
			t.Errorf("local, attempt %d: %v", i+1, got)
		}
		if !attempt(open, "192.0.2.1", "alice", "", 401).Allowed() {
			t.Error("open, and denied")
		}
		for _, status := range []int{200, 401} {
			if res := attempt(closed, "192.0.2.1", "alice", "", status); res.Allowed() || !res.Unavailable() {
				t.Errorf("closed: %d is allowed", status)
			}
		}
	}
}

// A handler of an Echo app asks the limits by account itself, before it responds.
func TestAnEchoAppAsksLimitsByAccount(t *testing.T) {
	t.Parallel()
	l := newLimiter(t, newCounters(t, ratelimit.CountersOptions{}), byAccount(ratelimit.FixedWindow, 1), limit("per-ip", ratelimit.FixedWindow, 10, time.Hour))
	e := echo.New()
	e.POST("/login", func(c echo.Context) error {
		status := http.StatusUnauthorized
		if c.QueryParam("password") == "right" {
			status = http.StatusNoContent
		}
		req := ratelimit.RequestOf(c.Request(), c.Path(), nil)
		res := l.CheckAttempt(c.Request().Context(), &req, ratelimit.LoginAttempt{Account: c.QueryParam("user"), Response: ratelimit.Response{Status: status}})
		if res != nil && !res.Allowed() {
			res.Deny(c.Response(), c.Request())
			return nil
		}
		return c.NoContent(status)
	}, l.Middleware(ratelimit.MiddlewareOptions{}))
	for _, tt := range []struct {
		query string
		want  int
	}{{"user=a&password=right", 204}, {"user=a&password=x", 401}, {"user=a&password=y", 429}, {"user=a&password=right", 429}, {"user=b&password=x", 401}, {"", 401}} {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest("POST", "/login?"+tt.query, nil))
		if w.Code != tt.want {
			t.Errorf("?%s: %d, want %d", tt.query, w.Code, tt.want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("Middleware takes a limit by account that nothing can ask")
		}
	}()
	ratelimit.Middleware(ratelimit.Options{Limits: []ratelimit.Limit{byAccount(ratelimit.FixedWindow, 1)}})
}
