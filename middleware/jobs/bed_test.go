package jobs_test

import (
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/jobs"
	"github.com/headgate/headgate/middleware/store"
)

// bed is what a test of both backends stands on.
type bed struct {
	t     *testing.T
	clock *clock
	redis *redistest.Server // nil: memory
}

// onBoth runs a test on each backend.
func onBoth(t *testing.T, f func(*testing.T, *bed)) {
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		f(t, &bed{t: t, clock: newClock()})
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		f(t, &bed{t: t, clock: newClock(), redis: redistest.Start(t)})
	})
}

// live lets the bed's clock go by itself.
func (b *bed) live() { b.clock = nil }

// open returns queues of the bed's backend.
func (b *bed) open(queues map[string]jobs.Queue) *jobs.Queues {
	b.t.Helper()
	return b.fleet(1, queues, nil)[0]
}

// fleet returns instances that share their jobs. In memory they are one: it is alone.
func (b *bed) fleet(n int, queues map[string]jobs.Queue, schedules map[string]jobs.Schedule) (all []*jobs.Queues) {
	b.t.Helper()
	o := jobs.Options{Queues: queues, Schedules: schedules, Now: b.clock.now}
	for i := range n {
		switch {
		case b.redis != nil:
			o.Redis = openStore(b.t, b.redis.URL)
			q := open(b.t, o)
			if b.clock != nil {
				q.SetRedisClock(b.clock.micros)
			}
			all = append(all, q)
		case i == 0:
			all = append(all, open(b.t, o))
		default:
			all = append(all, all[0])
		}
	}
	return all
}

// openStore connects to a Redis with time enough for a busy machine.
func openStore(t testing.TB, url string) *store.Redis {
	t.Helper()
	r, err := store.Open(store.Options{URL: url, Timeout: 10 * time.Second, KeyPrefix: "test:"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func (c *clock) micros() int64 { return c.now().UnixMicro() }
