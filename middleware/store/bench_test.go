package store_test

import (
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/store"
	"github.com/redis/go-redis/v9"
)

// BenchmarkScripts compares the ways to run one script per request, alone and
// with 64 callers: a round trip each, go-redis' AutoPipeline, and ours.
func BenchmarkScripts(b *testing.B) {
	script := store.NewScript(`return redis.call("incr", KEYS[1])`)
	keys := []string{"n"}
	for _, callers := range []int{1, 64} {
		name := map[int]string{1: "alone", 64: "64callers"}[callers]
		run := func(kind string, do func(r *store.Redis, ap *redis.AutoPipeliner) error) {
			b.Run(kind+"/"+name, func(b *testing.B) {
				r := open(b, store.Options{URL: redistest.Start(b).URL, Timeout: time.Second})
				ap, err := r.Client().(*redis.Client).AutoPipeline()
				if err != nil {
					b.Fatal(err)
				}
				defer ap.Close()
				if err := r.Do(b.Context(), script.Call(keys)); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.SetParallelism(max(callers/2, 1))
				if callers == 1 {
					for b.Loop() {
						if err := do(r, ap); err != nil {
							b.Fatal(err)
						}
					}
					return
				}
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := do(r, ap); err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
		run("each", func(r *store.Redis, _ *redis.AutoPipeliner) error {
			c := script.Call(keys)
			return r.Client().Process(b.Context(), c)
		})
		run("autopipeline", func(_ *store.Redis, ap *redis.AutoPipeliner) error {
			return ap.Process(b.Context(), script.Call(keys))
		})
		run("pipeline", func(r *store.Redis, _ *redis.AutoPipeliner) error {
			return r.Do(b.Context(), script.Call(keys))
		})
	}
}
