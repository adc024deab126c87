package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/headgate/headgate/middleware/problem"
)

// Taken is a job that is stored.
type Taken struct {
	ID string
	// Existing: the idempotency key stands for the job already.
	Existing bool
	// Estimate is about how long it takes until the job is done, at least a second.
	Estimate time.Duration
}

// Take stores a job, and returns when it is stored. An error means that it is not, or, where it is an [ErrUnavailable], that it may be.
func (q *Queues) Take(ctx context.Context, queue string, s Spec) (Taken, error) {
	taken, _, err := q.take(ctx, queue, []Spec{s})
	if err != nil {
		return Taken{}, err
	}
	return taken[0], nil
}

// MaxList is how many jobs one TakeAll stores at most.
const MaxList = 1000

// TakeAll stores jobs, in their order, all of them or none. An error says which job it is about, if it is about one.
func (q *Queues) TakeAll(ctx context.Context, queue string, all []Spec) ([]Taken, error) {
	if len(all) == 0 {
		return nil, nil
	}
	taken, which, err := q.take(ctx, queue, all)
	if err != nil && which >= 0 {
		err = fmt.Errorf("job %d of the list: %w", which+1, err)
	}
	return taken, err
}

// take stores jobs. Which is the one that an error is about, -1: none.
func (q *Queues) take(ctx context.Context, queue string, all []Spec) (list []Taken, which int, err error) {
	settings, err := q.queue(queue)
	if err != nil {
		return nil, -1, err
	}
	if len(all) > MaxList {
		return nil, -1, q.refused(queue, RefusedTooLarge, fmt.Errorf("%w: a list has %d jobs at most", ErrTooLarge, MaxList))
	}
	jobs := make([]*taking, len(all))
	for i := range all {
		if err := problem.Error("jobs", all[i].check()); err != nil {
			return nil, i, fmt.Errorf("%w: %w", ErrSpec, err)
		}
		if int64(len(all[i].Body)) > settings.MaxBody {
			return nil, i, q.refused(queue, RefusedTooLarge, ErrTooLarge)
		}
		jobs[i] = all[i].taking(settings)
	}
	reply, err := q.backend.take(ctx, settings.MaxBytes, jobs)
	switch {
	case err != nil:
		return nil, -1, q.refused(queue, RefusedUnavailable, err)
	case reply.as == conflict:
		return nil, reply.which, q.refused(queue, RefusedConflict, ErrConflict)
	case reply.as == full:
		return nil, -1, q.refused(queue, RefusedFull, &FullError{seconds(settings.untilRoom(reply.standing))})
	}
	for _, job := range reply.jobs {
		if job.as == stored {
			q.observer.Taken(queue, "")
		}
		list = append(list, Taken{ID: job.id, Existing: job.as == known, Estimate: seconds(settings.estimate(stateWaiting, 0, job.standing))})
	}
	return list, -1, nil
}

// refused tells the observer why jobs were not taken.
func (q *Queues) refused(queue string, why Refusal, err error) error {
	q.observer.Refused(queue, why)
	return err
}
