package jobs_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/jobs"
)

// clock is a test's.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)} }

// now is the clock's time; that of the machine for nil.
func (c *clock) now() time.Time {
	if c == nil {
		return time.Now()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// open returns queues that end with the test.
func open(t testing.TB, o jobs.Options) *jobs.Queues {
	t.Helper()
	q, err := jobs.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close() })
	return q
}

// one is a queue of the name q.
func one(q jobs.Queue) map[string]jobs.Queue { return map[string]jobs.Queue{"q": q} }

func take(t testing.TB, q *jobs.Queues, s jobs.Spec) string {
	t.Helper()
	if s.URL == "" {
		s.URL = "/do"
	}
	taken, err := q.Take(t.Context(), "q", s)
	if err != nil {
		t.Fatal(err)
	}
	return taken.ID
}

func get(t testing.TB, q *jobs.Queues, id string) jobs.Job {
	t.Helper()
	job, err := q.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// answering is a Runner that gives these answers, one after the other, and the last one from then on.
func answering(answers ...jobs.Answer) jobs.Runner {
	var mu sync.Mutex
	return func(context.Context, *jobs.Job, int) jobs.Answer {
		mu.Lock()
		defer mu.Unlock()
		a := answers[0]
		if len(answers) > 1 {
			answers = answers[1:]
		}
		return a
	}
}

func step(t testing.TB, q *jobs.Queues, r jobs.Runner) int {
	t.Helper()
	n, err := q.Step(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
