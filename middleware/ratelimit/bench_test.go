package ratelimit_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/labstack/echo/v4"
)

// callers runs the benchmark with one caller, and with 64 at once. With s it
// reports what Redis itself spent on a script, too.
func callers(b *testing.B, s *redistest.Server, f func(b *testing.B, i int)) {
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		defer reportScript(b, s)
		i := 0
		for b.Loop() {
			f(b, i)
			i++
		}
	})
	b.Run("callers=64", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(64 / runtime.GOMAXPROCS(0))
		defer reportScript(b, s)
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				f(b, i)
			}
		})
	})
}

var addresses = func() (all []*ratelimit.Request) {
	for i := range 1024 {
		all = append(all, from(fmt.Sprintf("198.18.%d.%d", i/256, i%256)))
	}
	return all
}()

// BenchmarkDecision is the memory backend's decision alone: no hashing, no Result.
func BenchmarkDecision(b *testing.B) {
	for _, a := range algorithms {
		b.Run(string(a), func(b *testing.B) {
			d, err := ratelimit.NewBareDecision(limit("bench", a, 50_000, time.Hour))
			if err != nil {
				b.Fatal(err)
			}
			now := time.Now().UnixMicro()
			b.ReportAllocs()
			for b.Loop() {
				now += 50_000
				d.Take(now)
			}
		})
	}
}

func BenchmarkMemory(b *testing.B) {
	for _, a := range algorithms {
		b.Run(string(a), func(b *testing.B) {
			l := newLimiter(b, newCounters(b, ratelimit.CountersOptions{}), limit("bench", a, 50_000, time.Second))
			benchmark(b, l, nil)
		})
	}
}

func BenchmarkRedis(b *testing.B) {
	s := redistest.Start(b)
	for _, a := range algorithms {
		b.Run(string(a), func(b *testing.B) {
			s.FlushAll()
			l := newLimiter(b, newCounters(b, ratelimit.CountersOptions{Redis: openStore(b, s.URL)}), limit("bench", a, 50_000, time.Second))
			benchmark(b, l, s)
		})
	}
	b.Run("three limits", func(b *testing.B) {
		l := newLimiter(b, newCounters(b, ratelimit.CountersOptions{Redis: openStore(b, s.URL)}),
			limit("one", ratelimit.SlidingWindow, 100_000, time.Second),
			limit("two", ratelimit.FixedWindow, 100_000, time.Second),
			limit("three", ratelimit.TokenBucket, 100_000, time.Second))
		benchmark(b, l, s)
	})
}

func benchmark(b *testing.B, l *ratelimit.Limiter, s *redistest.Server) {
	ctx := context.Background()
	callers(b, s, func(b *testing.B, i int) {
		if !l.Check(ctx, addresses[i%len(addresses)], nil).Allowed() {
			b.Error("denied")
		}
	})
}

// BenchmarkKnownAbuser is a whole 429 through Echo, from the deny cache.
func BenchmarkKnownAbuser(b *testing.B) {
	e := echo.New()
	e.Use(ratelimit.Middleware(ratelimit.Options{Limits: []ratelimit.Limit{limit("per-ip", ratelimit.SlidingWindow, 1, time.Hour)}}))
	e.GET("/", func(c echo.Context) error { return c.NoContent(http.StatusOK) })
	r := httptest.NewRequest("GET", "/", nil)
	e.ServeHTTP(httptest.NewRecorder(), r)
	w := &discard{h: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.h)
		e.ServeHTTP(w, r)
	}
	if w.status != http.StatusTooManyRequests {
		b.Fatal(w.status)
	}
}

type discard struct {
	h      http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// reportScript reports what Redis itself spent on a script since the last call.
func reportScript(b *testing.B, s *redistest.Server) {
	if s == nil {
		return
	}
	info, err := s.Client.Info(context.Background(), "commandstats").Result()
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(info) {
		_, after, ok := strings.Cut(line, "cmdstat_evalsha:")
		_, after, found := strings.Cut(after, "usec_per_call=")
		if ok && found {
			figure, _, _ := strings.Cut(after, ",")
			micros, err := strconv.ParseFloat(figure, 64)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(micros, "redis-µs/op")
		}
	}
	s.Client.ConfigResetStat(context.Background())
}
