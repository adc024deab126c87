package jobs_test

import (
	"testing"

	"github.com/headgate/headgate/middleware/jobs"
)

// bed is what a test of both backends stands on.
type bed struct {
	t     *testing.T
	clock *clock
}

// open returns queues of the bed's backend. Those of one bed share their jobs.
func (b *bed) open(queues map[string]jobs.Queue) *jobs.Queues {
	b.t.Helper()
	return open(b.t, jobs.Options{Queues: queues, Now: b.clock.now})
}

// onBoth runs a test on each backend.
func onBoth(t *testing.T, f func(*testing.T, *bed)) {
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		f(t, &bed{t: t, clock: newClock()})
	})
}

// fleet returns instances that share their jobs.
func (b *bed) fleet(n int, queues map[string]jobs.Queue, schedules map[string]jobs.Schedule) (all []*jobs.Queues) {
	b.t.Helper()
	first := open(b.t, jobs.Options{Queues: queues, Schedules: schedules, Now: b.clock.now})
	for range n {
		all = append(all, first) // in memory an instance is alone
	}
	return all
}

// live lets the bed's clock go by itself.
func (b *bed) live() { b.clock = nil }
