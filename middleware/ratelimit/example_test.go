package ratelimit_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/store"
	"github.com/labstack/echo/v4"
)

// Three requests a minute from each address, counted in this process.
func ExampleMiddleware() {
	e := echo.New()
	e.Use(ratelimit.Middleware(ratelimit.Options{
		Limits: []ratelimit.Limit{{Name: "per-ip", Requests: 3, Window: time.Minute}},
	}))
	e.GET("/", func(c echo.Context) error { return c.String(http.StatusOK, "hello") })

	for range 4 {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		fmt.Println(w.Code, w.Header().Get("RateLimit-Policy"))
	}
	// Output:
	// 200 "per-ip";q=3;w=60
	// 200 "per-ip";q=3;w=60
	// 200 "per-ip";q=3;w=60
	// 429 "per-ip";q=3;w=60
}

// Instances that share a Redis share their counters.
func ExampleMiddleware_redis() {
	url := os.Getenv("REDIS_URL")
	if url == "" {
		return // nothing to connect to
	}
	r, err := store.Open(store.Options{URL: url})
	if err != nil {
		panic(err)
	}
	defer r.Close()
	counters, err := ratelimit.NewCounters(ratelimit.CountersOptions{Redis: r})
	if err != nil {
		panic(err)
	}
	defer counters.Close()

	e := echo.New()
	e.Use(ratelimit.Middleware(ratelimit.Options{
		Counters: counters,
		Limits: []ratelimit.Limit{
			{Name: "per-ip", Requests: 100, Window: time.Minute},
			{Name: "global", Key: []ratelimit.KeyPart{{Kind: ratelimit.KeyRoute}}, Algorithm: ratelimit.TokenBucket, Requests: 5000, Window: time.Second},
		},
	}))
}

// Five wrong passwords a minute, however many are tried at once: a guess is
// reserved when it comes, and given back if it was right.
func ExampleCount() {
	e := echo.New()
	e.POST("/login", func(c echo.Context) error {
		if c.FormValue("password") != "open sesame" {
			return echo.ErrUnauthorized
		}
		return c.NoContent(http.StatusNoContent)
	}, ratelimit.Middleware(ratelimit.Options{
		Limits: []ratelimit.Limit{{
			Name: "login-attempts", Algorithm: ratelimit.FixedWindow,
			Requests: 2, Window: time.Minute, Count: ratelimit.Count{Failed: true},
		}},
	}))

	for _, password := range []string{"open+sesame", "open+sesame", "open+sesame", "1234", "qwerty", "open+sesame"} {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest("POST", "/login?password="+password, nil))
		fmt.Println(password, w.Code)
	}
	// Output:
	// open+sesame 204
	// open+sesame 204
	// open+sesame 204
	// 1234 401
	// qwerty 401
	// open+sesame 429
}
