package jobs

import (
	"context"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/store"
)

// TestMessagesReachOtherInstances: one that only listens learns of jobs that may run and of those that are over. No polling could tell it.
func TestMessagesReachOtherInstances(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	instance := func() *Queues {
		r, err := store.Open(store.Options{URL: s.URL, Timeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		q, err := New(Options{Redis: r, Queues: map[string]Queue{"q": {}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = q.Close(), r.Close() })
		return q
	}
	listens, works := instance(), instance()
	enqueue := func() string {
		taken, err := works.Take(t.Context(), "q", Spec{URL: "/"})
		if err != nil {
			t.Fatal(err)
		}
		return taken.ID
	}
	run := func() {
		if _, err := works.Step(t.Context(), func(context.Context, *Job, int) Answer { return Answer{Status: 200} }); err != nil {
			t.Fatal(err)
		}
	}
	woken := listens.hub.woken()
	for heard := false; !heard; { // it may not listen yet
		enqueue()
		run()
		select {
		case <-woken:
			heard = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	id := enqueue()
	ended, done := listens.hub.watch(id)
	defer done()
	if _, err := listens.get(t.Context(), id, true); err != nil {
		t.Fatal(err)
	}
	run()
	<-ended
}
