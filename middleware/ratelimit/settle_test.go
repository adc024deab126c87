package ratelimit_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/labstack/echo/v4"
)

// backends runs a test in memory and in Redis.
func backends(t *testing.T, f func(t *testing.T, c *ratelimit.Counters)) {
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		f(t, newCounters(t, ratelimit.CountersOptions{}))
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		s := redistest.Start(t)
		f(t, newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL)}))
		s.AssertEveryKeyExpires(t)
	})
}

// login is an app whose answer is what the request asks for.
func login(c *ratelimit.Counters, o ratelimit.Options) *echo.Echo {
	o.Counters = c
	e := echo.New()
	e.Use(ratelimit.Middleware(o))
	e.POST("/login", func(c echo.Context) error {
		switch c.QueryParam("answer") {
		case "welcome":
			c.Response().Header().Set("Headgate-Login", "42")
			return c.NoContent(http.StatusOK)
		case "wrong":
			return c.NoContent(http.StatusOK) // as login forms do it
		case "refused":
			return c.NoContent(http.StatusUnauthorized)
		case "error":
			return echo.NewHTTPError(http.StatusForbidden)
		case "broken":
			return errors.New("broken")
		case "own-refusal":
			ratelimit.MarkOwnResponse(c.Request().Context())
			return c.NoContent(http.StatusForbidden)
		case "own":
			ratelimit.MarkOwnResponse(c.Request().Context())
			return c.NoContent(http.StatusBadGateway)
		case "panic":
			panic(http.ErrAbortHandler)
		case "own-panic":
			ratelimit.MarkOwnResponse(c.Request().Context())
			panic(http.ErrAbortHandler)
		case "left-silently":
			return nil
		case "left":
			ctx, cancel := context.WithCancel(c.Request().Context())
			cancel()
			c.SetRequest(c.Request().WithContext(ctx))
			ratelimit.MarkOwnResponse(ctx)
			return ctx.Err()
		}
		return c.NoContent(http.StatusTeapot)
	})
	return e
}

func post(e *echo.Echo, answer, name string) (status int) {
	defer func() {
		if recover() != nil {
			status = -1
		}
	}()
	r := httptest.NewRequest("POST", "/login?answer="+answer, nil)
	r.Header.Set("Case", name)
	if strings.HasPrefix(answer, "left") {
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		r = r.WithContext(ctx)
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w.Code
}

func TestWhichAnswersCount(t *testing.T) {
	t.Parallel()
	failed := ratelimit.Count{Failed: true}
	loggedIn := func(_ int, h http.Header) bool { return h.Get("Headgate-Login") != "" }
	cases := map[string]struct {
		count     ratelimit.Count
		succeeded func(int, http.Header) bool
		answer    string
		counts    bool
	}{
		"all count a success":            {ratelimit.Count{}, nil, "welcome", true},
		"all count an own answer":        {ratelimit.Count{}, nil, "own", true},
		"failed: a success":              {failed, nil, "welcome", false},
		"failed: 401":                    {failed, nil, "refused", true},
		"failed: an HTTP error":          {failed, nil, "error", true},
		"failed: another error":          {failed, nil, "broken", true},
		"failed: an own answer":          {failed, nil, "own", false},
		"failed: an own 403":             {failed, nil, "own-refusal", true},
		"login: an own 403":              {failed, loggedIn, "own-refusal", true},
		"statuses: an own 403":           {ratelimit.Count{Statuses: []int{403}}, nil, "own-refusal", true},
		"statuses: an own 403 among 401": {ratelimit.Count{Statuses: []int{401}}, nil, "own-refusal", false},
		"failed: a panic":                {failed, nil, "panic", true},
		"failed: a client that left":     {failed, nil, "left", true},
		"failed: left, no response":      {failed, nil, "left-silently", true},
		"failed: an own one, then panic": {failed, nil, "own-panic", true},
		"login: a success":               {failed, loggedIn, "welcome", false},
		"login: 200 without a login":     {failed, loggedIn, "wrong", true},
		"statuses: one of them":          {ratelimit.Count{Statuses: []int{401, 418}}, nil, "refused", true},
		"statuses: an error among them":  {ratelimit.Count{Statuses: []int{403}}, nil, "error", true},
		"statuses: another one":          {ratelimit.Count{Statuses: []int{401}}, nil, "wrong", false},
		"statuses: an own one among 502": {ratelimit.Count{Statuses: []int{502}}, nil, "own", false},
	}
	backends(t, func(t *testing.T, c *ratelimit.Counters) {
		for name, tt := range cases {
			t.Run(name, func(t *testing.T) {
				for _, a := range algorithms {
					x := limit("login", a, 2, time.Hour)
					x.Count = tt.count
					x.Key = []ratelimit.KeyPart{{Kind: ratelimit.KeyHeader, Name: "Case"}}
					e := login(c, ratelimit.Options{Limits: []ratelimit.Limit{x}, Succeeded: tt.succeeded})
					for i := range 5 {
						denied := post(e, tt.answer, name) == http.StatusTooManyRequests
						if want := tt.counts && i >= 2; denied != want {
							t.Fatalf("%s: request %d denied: %v", a, i+1, denied)
						}
					}
				}
			})
		}
	})
}

// TestARequestIsSettledBeforeItsAnswerGoesOut: a long body does not hold the
// reservation, and a client that has its answer finds it settled.
func TestARequestIsSettledBeforeItsAnswerGoesOut(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, c *ratelimit.Counters) {
		x := limit("stream", ratelimit.FixedWindow, 1, time.Hour)
		x.Count.Failed = true
		x.Key = []ratelimit.KeyPart{{Kind: ratelimit.KeyRoute}}
		e := echo.New()
		e.Use(ratelimit.Middleware(ratelimit.Options{Counters: c, Limits: []ratelimit.Limit{x}}))
		e.GET("/s", func(ec echo.Context) error {
			left := func() int64 {
				states, err := c.Inspect(context.Background(), x, "/s")
				if err != nil {
					t.Fatal(err)
				}
				return states[0].Remaining
			}
			if n := left(); n != 0 {
				t.Errorf("%d remain while the request is under way", n)
			}
			ec.Response().WriteHeader(http.StatusOK)
			if n := left(); n != 1 {
				t.Errorf("%d remain once the answer has begun", n)
			}
			return nil
		})
		e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/s", nil))
	})
}

// TestConcurrentGuessesCannotSlipThrough: as many are under way as the limit
// allows, the others wait a second, and once an answer is in, it decides.
func TestConcurrentGuessesCannotSlipThrough(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, c *ratelimit.Counters) {
		for _, a := range algorithms {
			x := limit("guesses", a, 5, time.Hour)
			x.Count.Failed = true
			l := newLimiter(t, c, x)
			var mu sync.Mutex
			var under []*ratelimit.Result
			var wg sync.WaitGroup
			for range 30 {
				wg.Go(func() {
					o := check(l, from("192.0.2.1"))
					mu.Lock()
					defer mu.Unlock()
					if o.Allowed() {
						under = append(under, o)
					} else if o.RetryAfter() != 1 {
						t.Errorf("%s: a denial for the sake of open requests says Retry-After: %d", a, o.RetryAfter())
					}
				})
			}
			wg.Wait()
			if len(under) != 5 {
				t.Fatalf("%s: %d guesses are under way, of 5", a, len(under))
			}
			ctx := context.Background()
			under[0].Settle(ctx, ratelimit.Response{Status: 200}) // does not count
			o := check(l, from("192.0.2.1"))
			if !o.Allowed() {
				t.Fatalf("%s: denied although one was given back: the denials were remembered", a)
			}
			for _, failed := range append(under[1:], o) {
				failed.Settle(ctx, ratelimit.Response{Status: 401})
				failed.Settle(ctx, ratelimit.Response{Status: 200}) // once only
			}
			if o := check(l, from("192.0.2.1")); o.Allowed() || o.RetryAfter() <= 1 {
				t.Fatalf("%s: five guesses failed, and a sixth gets %+v", a, o.Decisions())
			}
		}
	})
}

func TestWhatIsNeverAnsweredStaysCounted(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, c *ratelimit.Counters) {
		x := limit("crash", ratelimit.FixedWindow, 1, time.Hour)
		x.Count.Failed = true
		l := newLimiter(t, c, x)
		if !check(l, from("192.0.2.1")).Allowed() { // and then its gateway dies
			t.Fatal("denied")
		}
		if check(l, from("192.0.2.1")).Allowed() {
			t.Fatal("a request that was never answered does not count")
		}
	})
}

// TestAWrongGuessIsRefundedAndMadeAgain is how a gateway checks before it
// knows the session.
func TestAWrongGuessIsRefundedAndMadeAgain(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, c *ratelimit.Counters) {
		byUser := limit("by-user", ratelimit.SlidingLog, 3, time.Hour)
		byUser.Key = []ratelimit.KeyPart{{Kind: ratelimit.KeyUser}}
		byIP := limit("by-ip", ratelimit.TokenBucket, 3, time.Hour)
		l := newLimiter(t, c, byUser, byIP)
		for range 5 {
			r := from("192.0.2.1")
			r.User = "guess"
			check(l, r).Refund(context.Background())
		}
		r := from("192.0.2.1")
		r.User = "alice"
		for i := range 4 {
			if check(l, r).Allowed() != (i < 3) {
				t.Fatalf("request %d after refunds", i+1)
			}
		}
		for limit, key := range map[*ratelimit.Limit]string{&byUser: "guess"} {
			states, err := c.Inspect(context.Background(), *limit, key)
			if err != nil || states[0].Remaining != 3 {
				t.Fatalf("%+v, %v", states, err)
			}
		}
	})
}

func TestAGiveBackFindsItsOwnWindow(t *testing.T) {
	t.Parallel()
	clk := newClock()
	c := newCounters(t, ratelimit.CountersOptions{Now: clk.now})
	for _, a := range []ratelimit.Algorithm{ratelimit.FixedWindow, ratelimit.SlidingWindow, ratelimit.SlidingLog} {
		x := limit("windows", a, 4, time.Minute)
		x.Count.Failed = true
		l := newLimiter(t, c, x)
		old := check(l, from("192.0.2.1"))
		clk.add(3 * time.Minute)
		check(l, from("192.0.2.1"))
		old.Settle(context.Background(), ratelimit.Response{Status: 200})
		states, err := c.Inspect(context.Background(), x, "192.0.2.1")
		if err != nil || states[0].Remaining != 3 {
			t.Errorf("%s: a request of a past window was given back in this one: %+v, %v", a, states, err)
		}
	}
}

// TestAnErrorCountsByWhatTheAppsErrorHandlerWrites, not by Echo's idea of the error.
func TestAnErrorCountsByWhatTheAppsErrorHandlerWrites(t *testing.T) {
	t.Parallel()
	type appError struct {
		error
		status int
	}
	backends(t, func(t *testing.T, c *ratelimit.Counters) {
		for name, tt := range map[string]struct {
			count  ratelimit.Count
			err    error
			counts bool
		}{
			"a custom error as 401":      {ratelimit.Count{Statuses: []int{401}}, appError{errors.New("who"), 401}, true},
			"a custom error as 303":      {ratelimit.Count{Failed: true}, appError{errors.New("log in"), 303}, false},
			"an HTTP error as 410":       {ratelimit.Count{Statuses: []int{410}}, echo.NewHTTPError(404), true},
			"an HTTP error is not a 404": {ratelimit.Count{Statuses: []int{404}}, echo.NewHTTPError(404), false},
		} {
			x := limit("x", ratelimit.FixedWindow, 2, time.Hour)
			x.Count, x.Key = tt.count, []ratelimit.KeyPart{{Kind: ratelimit.KeyHeader, Name: "Case"}}
			e := echo.New()
			e.HTTPErrorHandler = func(err error, c echo.Context) {
				status := 410
				var known appError
				if errors.As(err, &known) {
					status = known.status
				}
				_ = c.NoContent(status)
			}
			e.Use(ratelimit.Middleware(ratelimit.Options{Counters: c, Limits: []ratelimit.Limit{x}}))
			e.POST("/login", func(echo.Context) error { return tt.err })
			for i := range 5 {
				denied := post(e, "", name) == http.StatusTooManyRequests
				if want := tt.counts && i >= 2; denied != want {
					t.Errorf("%s: request %d denied: %v", name, i+1, denied)
				}
			}
		}
	})
}
