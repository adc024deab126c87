package jobs_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/jobs"
)

// recorder notes what an Observer is told.
type recorder struct {
	jobs.NopObserver
	mu    sync.Mutex
	lines []string
}

func (r *recorder) note(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}

func (r *recorder) Taken(queue, schedule string)           { r.note("taken " + queue + schedule) }
func (r *recorder) Refused(queue string, why jobs.Refusal) { r.note("refused " + string(why)) }
func (r *recorder) Ended(a *jobs.Attempt)                  { r.note("ended " + string(a.Outcome)) }
func (r *recorder) Expired(string, string)                 { r.note("expired") }
func (r *recorder) LeasesEnded(string, int)                { r.note("leases ended") }

func TestWhatAnObserverIsTold(t *testing.T) {
	t.Parallel()
	r, clk := &recorder{}, newClock()
	q := open(t, jobs.Options{Queues: one(jobs.Queue{Retries: 2, MaxAge: time.Hour, MaxBody: 10}), Now: clk.now, Observer: r})
	told := func(want ...string) {
		t.Helper()
		if !slices.Equal(r.lines, want) {
			t.Fatalf("told %q, want %q", r.lines, want)
		}
		r.lines = nil
	}
	_, _ = q.Take(t.Context(), "q", jobs.Spec{URL: "/", Body: make([]byte, 11)})
	take(t, q, jobs.Spec{Key: "k"})
	take(t, q, jobs.Spec{Key: "k"})
	_, _ = q.Take(t.Context(), "q", jobs.Spec{URL: "/other", Key: "k"})
	told("refused too_large", "taken q", "refused conflict")
	step(t, q, answering(jobs.Answer{}))
	clk.add(time.Minute)
	step(t, q, answering(jobs.Answer{Status: 500}))
	clk.add(time.Minute)
	step(t, q, answering(jobs.Answer{Status: 200}))
	told("ended unsent", "ended again", "ended done")
	take(t, q, jobs.Spec{})
	step(t, q, answering(jobs.Answer{Status: 404}))
	told("taken q", "ended failed")
	take(t, q, jobs.Spec{})
	q.LoseLease()
	step(t, q, answering(jobs.Answer{Status: 200}))
	clk.add(time.Minute)
	step(t, q, answering(jobs.Answer{Status: 200}))
	told("taken q", "ended lost", "leases ended", "ended done")
	take(t, q, jobs.Spec{})
	clk.add(time.Hour)
	step(t, q, answering(jobs.Answer{Status: 200}))
	told("taken q", "expired")
}

// TestAnEndWhoseReplyIsLostIsStoredOnce: neither the result nor the follow-up comes twice.
func TestAnEndWhoseReplyIsLostIsStoredOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *bed) {
		q := b.open(one(jobs.Queue{}))
		id := take(t, q, jobs.Spec{URL: "/first"})
		q.LoseFinish()
		ran := map[string]int{}
		step(t, q, func(_ context.Context, job *jobs.Job, _ int) jobs.Answer {
			ran[job.URL]++
			a := jobs.Answer{Status: 200}
			if job.URL == "/first" {
				a.Header = http.Header{"Headgate-Enqueue": {"/second", "/a b"}}
			}
			return a
		})
		if len(ran) != 2 || ran["/first"] != 1 || ran["/second"] != 1 || get(t, q, id).Attempts != 1 {
			t.Fatalf("ran %v", ran)
		}
	})
}
