// Ratelimit-echo is an Echo app of your own with Headgate's rate limits as
// middleware: no gateway, no policy file.
//
//	go run ./examples/ratelimit-echo
//	REDIS_URL=redis://127.0.0.1:6379 go run ./examples/ratelimit-echo
//
// Then ask it for more than it gives:
//
//	curl -si 'http://127.0.0.1:8090/search?[1-5]'
//
// With REDIS_URL, any number of instances count together.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/store"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, "127.0.0.1:8090", os.Getenv("REDIS_URL")); err != nil {
		fmt.Fprintln(os.Stderr, "ratelimit-echo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr, redisURL string) error {
	counters, closeCounters, err := openCounters(store.Options{URL: redisURL, KeyPrefix: "ratelimit-echo:", Logger: slog.Default()})
	if err != nil {
		return err
	}
	defer closeCounters()

	e := newApp(counters)
	context.AfterFunc(ctx, func() { e.Close() })
	fmt.Printf("try: curl -si 'http://%s/search?[1-5]'\n", addr)
	if err := e.Start(addr); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// openCounters returns the state behind the limits: in Redis, or without a URL
// in this process.
func openCounters(where store.Options) (*ratelimit.Counters, func(), error) {
	o := ratelimit.CountersOptions{Logger: slog.Default()}
	closeRedis := func() error { return nil }
	if where.URL != "" {
		redis, err := store.Open(where)
		if err != nil {
			return nil, nil, err
		}
		o.Redis, closeRedis = redis, redis.Close
	}
	counters, err := ratelimit.NewCounters(o)
	if err != nil {
		return nil, nil, errors.Join(err, closeRedis())
	}
	return counters, func() { counters.Close(); closeRedis() }, nil
}

// newApp has three limits. A limit is a counter with a name, so each counts
// for itself, and a request must be admitted by all that stand in its way.
func newApp(counters *ratelimit.Counters) *echo.Echo {
	e := echo.New()
	e.HideBanner = true
	e.HidePort = true

	// Everything: 60 requests a minute from one address.
	e.Use(ratelimit.Middleware(ratelimit.Options{
		Counters: counters,
		Limits:   []ratelimit.Limit{{Name: "per-ip", Requests: 60, Window: time.Minute}},
	}))

	// The expensive route: three at once, and then one every ten seconds.
	e.GET("/search", func(c echo.Context) error {
		return c.String(http.StatusOK, "found nothing, at great expense\n")
	}, ratelimit.Middleware(ratelimit.Options{
		Counters: counters,
		Limits: []ratelimit.Limit{{
			Name: "search", Algorithm: ratelimit.TokenBucket,
			Requests: 6, Window: time.Minute, Burst: 3,
		}},
	}))

	// The login: five failures a minute. Who knows the password is never slowed down.
	e.POST("/login", func(c echo.Context) error {
		if c.FormValue("password") != "open-sesame" {
			return echo.NewHTTPError(http.StatusUnauthorized, "wrong password")
		}
		return c.String(http.StatusOK, "welcome\n")
	}, ratelimit.Middleware(ratelimit.Options{
		Counters: counters,
		Limits: []ratelimit.Limit{{
			Name: "login-failures", Algorithm: ratelimit.FixedWindow,
			Requests: 5, Window: time.Minute, Count: ratelimit.Count{Failed: true},
		}},
	}))

	e.GET("/", func(c echo.Context) error { return c.String(http.StatusOK, "hello\n") })
	return e
}
