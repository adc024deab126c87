// Cache-echo is an Echo app of your own with Headgate's response cache as
// middleware: its slow report is made once for everybody, and anew when there
// is something to report.
//
//	go run ./examples/cache-echo
//	REDIS_URL=redis://127.0.0.1:6379 go run ./examples/cache-echo
//
//	curl -si http://127.0.0.1:8092/report      slow, and "fwd=uri-miss"
//	curl -si http://127.0.0.1:8092/report      at once, and "hit"
//	curl -si -X POST http://127.0.0.1:8092/numbers
//	curl -si http://127.0.0.1:8092/report      slow again
//
// With REDIS_URL, any number of instances make the report once together.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/store"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, "127.0.0.1:8092", os.Getenv("REDIS_URL")); err != nil {
		fmt.Fprintln(os.Stderr, "cache-echo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr, redisURL string) error {
	responses, closeCache, err := openCache(store.Options{URL: redisURL, KeyPrefix: "cache-echo:", Logger: slog.Default()})
	if err != nil {
		return err
	}
	defer closeCache()

	e := newApp(responses, newNumbers(5_000_000))
	context.AfterFunc(ctx, func() { e.Close() })
	fmt.Printf("try twice: curl -si http://%s/report\n", addr)
	if err := e.Start(addr); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// openCache returns the cache: shared in Redis, or without a URL in this
// process alone.
func openCache(where store.Options) (*cache.Cache, func(), error) {
	o := cache.Options{Logger: slog.Default()}
	closeRedis := func() {}
	if where.URL != "" {
		redis, err := store.Open(where)
		if err != nil {
			return nil, nil, err
		}
		o.Redis, closeRedis = redis, func() { redis.Close() }
	}
	responses, err := cache.New(o)
	if err != nil {
		closeRedis()
		return nil, nil, err
	}
	return responses, func() { responses.Close(); closeRedis() }, nil
}

func newApp(responses *cache.Cache, n *numbers) *echo.Echo {
	e := echo.New()
	e.HideBanner = true
	e.HidePort = true

	// The handler says nothing of caching, so the rule does: a minute, and for
	// another one the old report while a new one is made.
	e.GET("/report", n.report, responses.Middleware(cache.Rule{
		Name: "reports", TTL: time.Minute, StaleWhileRevalidate: time.Minute, Tags: []string{"numbers"},
	}, cache.MiddlewareOptions{}))

	// What changes the numbers purges what was said of them, on every instance
	// and before the answer is there.
	e.POST("/numbers", n.grow, responses.Middleware(cache.Rule{Name: "reports"}, cache.MiddlewareOptions{
		PurgeTags: []string{"numbers"},
	}))
	return e
}

// numbers are what the app reports on.
type numbers struct {
	limit   atomic.Int64
	reports atomic.Int64
}

func newNumbers(limit int64) *numbers {
	n := &numbers{}
	n.limit.Store(limit)
	return n
}

// report counts the primes below the limit, by the sieve of Eratosthenes.
func (n *numbers) report(c echo.Context) error {
	limit := n.limit.Load()
	composite := make([]bool, limit)
	primes := 0
	for i := int64(2); i < limit; i++ {
		if composite[i] {
			continue
		}
		primes++
		for j := i * i; j < limit; j += i {
			composite[j] = true
		}
	}
	return c.String(http.StatusOK, fmt.Sprintf("report %d: there are %d primes below %d\n", n.reports.Add(1), primes, limit))
}

// grow adds a hundred numbers.
func (n *numbers) grow(c echo.Context) error {
	n.limit.Add(100)
	return c.NoContent(http.StatusNoContent)
}
