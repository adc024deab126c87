package jobs_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/jobs"
)

// typical is a job of a small web app.
func typical() jobs.Spec {
	return jobs.Spec{
		URL: "/images/7/resize?size=200", Upstream: "shop", Route: "resize", Owner: jobs.Owner{User: "anna", Host: "shop.example"},
		Header: http.Header{"Content-Type": {"application/json"}, "User-Agent": {"Mozilla/5.0"}}, Body: []byte(`{"size":200,"format":"webp"}`),
	}
}

// BenchmarkTake is how long it takes until a job is stored, with 64 callers at once.
func BenchmarkTake(b *testing.B) {
	s := redistest.Start(b)
	q := openTo(b, s.URL, 10*time.Second, jobs.Queue{MaxBytes: 16 << 30})
	each(b.N, 64, func(int) {
		if _, err := q.Take(context.Background(), "q", typical()); err != nil {
			b.Error(err)
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}

// BenchmarkWork is a job from being taken to being done.
func BenchmarkWork(b *testing.B) {
	s := redistest.Start(b)
	q := openTo(b, s.URL, 10*time.Second, jobs.Queue{MaxBytes: 16 << 30, Concurrency: 64})
	var done sync.WaitGroup
	done.Add(b.N)
	stop := work(b, q, func(context.Context, *jobs.Job, int) jobs.Answer { done.Done(); return jobs.Answer{Status: 200} }, jobs.WorkOptions{Grace: time.Minute})
	b.ResetTimer()
	each(b.N, 16, func(int) {
		if _, err := q.Take(context.Background(), "q", typical()); err != nil {
			b.Error(err)
		}
	})
	done.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
	stop()
}

// each calls f n times, from so many goroutines.
func each(n, goroutines int, f func(i int)) {
	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() {
			for i := g; i < n; i += goroutines {
				f(i)
			}
		})
	}
	all.Wait()
}

// BenchmarkWaiting is what a queue costs while many jobs wait in it: their memory, and the time of a Take, a claim, a page of a list and the numbers.
func BenchmarkWaiting(b *testing.B) {
	for _, waiting := range []int{1_000, 1_000_000} {
		b.Run(strconv.Itoa(waiting), func(b *testing.B) {
			s := redistest.Start(b)
			q := openTo(b, s.URL, 10*time.Second, jobs.Queue{MaxBytes: 16 << 30, Concurrency: 1000})
			before := used(b, s)
			each(waiting, 64, func(int) {
				if _, err := q.Take(context.Background(), "q", typical()); err != nil {
					b.Error(err)
				}
			})
			perJob := float64(used(b, s)-before) / float64(waiting)
			timed := func(name string, f func() error) {
				begun := time.Now()
				for range 200 {
					if err := f(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(time.Since(begun).Microseconds())/200, "µs/"+name)
			}
			ctx := context.Background()
			b.ResetTimer()
			timed("take", func() error { _, err := q.Take(ctx, "q", typical()); return err })
			timed("list", func() error {
				_, err := q.List(ctx, "q", jobs.Queued, jobs.Page{Offset: waiting / 2, Limit: 20})
				return err
			})
			timed("stats", func() error { _, err := q.Stats(ctx, "q"); return err })
			runs, cancel := context.WithCancel(ctx)
			n := 0
			begun := time.Now()
			_, _ = q.Step(runs, func(context.Context, *jobs.Job, int) jobs.Answer {
				if n++; n == 200 {
					cancel()
				}
				return jobs.Answer{Status: 200}
			})
			b.ReportMetric(float64(time.Since(begun).Microseconds())/200, "µs/run")
			b.ReportMetric(perJob, "bytes/job")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func used(b *testing.B, s *redistest.Server) (bytes int64) {
	b.Helper()
	info := s.Client.Info(b.Context(), "memory").Val()
	_, rest, _ := strings.Cut(info, "used_memory:")
	if _, err := fmt.Sscan(rest, &bytes); err != nil {
		b.Fatal(err)
	}
	return bytes
}
