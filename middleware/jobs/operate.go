package jobs

import (
	"context"
	"time"
)

// Stats are a queue's numbers.
type Stats struct {
	Queue  string `json:"queue"`
	Paused bool   `json:"paused,omitempty"`
	// Queued jobs are due, Waiting ones wait for their time. Done, Failed and Cancelled ones are kept.
	Queued    int64 `json:"queued"`
	Waiting   int64 `json:"waiting"`
	Running   int64 `json:"running"`
	Done      int64 `json:"done"`
	Failed    int64 `json:"failed"`
	Cancelled int64 `json:"cancelled"`
	// Oldest is how long the first job in the queue has been due.
	Oldest time.Duration `json:"-"`
	// Bytes is what jobs that wait and run count towards MaxBytes, Kept what those do that are over, which have as much again.
	Bytes int64 `json:"bytes"`
	Kept  int64 `json:"kept"`
	// Average is about how long an attempt takes.
	Average time.Duration `json:"-"`
	// SlowedFor is how long the queue pauses by itself, because of what app servers have answered.
	SlowedFor time.Duration `json:"-"`
}

// Stats returns a queue's numbers.
func (q *Queues) Stats(ctx context.Context, queue string) (Stats, error) {
	if _, err := q.queue(queue); err != nil {
		return Stats{}, err
	}
	c, err := q.backend.stats(ctx, queue)
	if err != nil {
		return Stats{}, err
	}
	s := Stats{
		Queue: queue, Paused: c.paused, Queued: c.queued, Waiting: c.waiting, Running: c.running, Done: c.done, Failed: c.failed, Cancelled: c.cancelled,
		Bytes: c.live, Kept: c.kept, Average: time.Duration(c.average) * time.Microsecond,
		SlowedFor: time.Duration(max(0, c.notBefore-c.now)) * time.Microsecond,
	}
	if c.oldest > 0 {
		s.Oldest = time.Duration(max(0, c.now-c.oldest)) * time.Microsecond
	}
	return s, nil
}

// Page says which jobs of a list are wanted.
type Page struct {
	Offset int
	Limit  int // at most MaxPage; 0 is MaxPage
}

// MaxPage is how many jobs one List returns at most.
const MaxPage = 1000

// List returns the jobs of a queue that have a status: those that wait and run in the order in which they run, those that are
// over with the one first that is kept longest. It costs no more the more jobs there are.
func (q *Queues) List(ctx context.Context, queue string, status Status, p Page) ([]Job, error) {
	settings, err := q.queue(queue)
	if err != nil {
		return nil, err
	}
	if p.Limit <= 0 || p.Limit > MaxPage {
		p.Limit = MaxPage
	}
	views, err := q.backend.list(ctx, queue, status, max(0, p.Offset), p.Limit)
	if err != nil {
		return nil, err
	}
	jobs := make([]Job, 0, len(views))
	for _, v := range views {
		job, _ := v.job(settings)
		jobs = append(jobs, job)
	}
	return jobs, nil
}

// Pause has no more jobs of a queue begin, on any instance, until Resume. Those that run go on.
func (q *Queues) Pause(ctx context.Context, queue string) error { return q.setPaused(ctx, queue, true) }

// Resume ends a Pause.
func (q *Queues) Resume(ctx context.Context, queue string) error {
	return q.setPaused(ctx, queue, false)
}

func (q *Queues) setPaused(ctx context.Context, queue string, paused bool) error {
	if _, err := q.queue(queue); err != nil {
		return err
	}
	return q.backend.pause(ctx, queue, paused)
}

// Retry puts a failed job back in its queue, with all of its attempts. It is [ErrState] of a job that has not failed.
func (q *Queues) Retry(ctx context.Context, id string) (Job, error) {
	queue, err := q.queueOf(id)
	if err != nil {
		return Job{}, err
	}
	retried, err := q.backend.retry(ctx, queue.Name, id)
	if err != nil {
		return Job{}, err
	}
	job, err := q.Get(ctx, id)
	if err == nil && !retried {
		err = ErrState
	}
	return job, err
}

// retriedAtOnce is how many jobs one step retries.
const retriedAtOnce = 100

// RetryFailed puts the failed jobs of a queue back, as many as there are now, and returns how many they were.
func (q *Queues) RetryFailed(ctx context.Context, queue string) (n int, err error) {
	stats, err := q.Stats(ctx, queue)
	if err != nil {
		return 0, err
	}
	for left := int(stats.Failed); left > 0; left -= retriedAtOnce { // those that fail meanwhile are not tried again and again
		retried, err := q.backend.retryFailed(ctx, queue, min(left, retriedAtOnce))
		n += retried
		if err != nil || retried == 0 {
			return n, err
		}
	}
	return n, nil
}
