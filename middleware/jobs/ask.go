package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/headgate/headgate/middleware/store"
)

// Get returns a job as it stands. Whether the one who asks may know is the caller's to check: see [Owner.Owns].
func (q *Queues) Get(ctx context.Context, id string) (Job, error) { return q.get(ctx, id, false) }

func (q *Queues) get(ctx context.Context, id string, asks bool) (Job, error) {
	queue, err := q.queueOf(id)
	if err != nil {
		return Job{}, err
	}
	v, err := q.backend.view(ctx, queue.Name, id, asks)
	if err != nil {
		return Job{}, err
	}
	if v == nil {
		return Job{}, ErrNotFound
	}
	job, _ := v.job(queue)
	return job, nil
}

// How often Wait looks by itself, should the message that a job is over be lost.
const (
	lookFirst = 250 * time.Millisecond
	lookMost  = 2 * time.Second
)

// Wait returns a job when it is over, or as it stands after d.
func (q *Queues) Wait(ctx context.Context, id string, d time.Duration) (Job, error) {
	ended, done := q.hub.watch(id)
	defer done()
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	for pause := lookFirst; ; pause = min(2*pause, lookMost) {
		job, err := q.get(store.Afresh(ctx), id, d > 0) // it waits for a worker, not for Redis
		if err != nil || job.Status.Over() {
			return job, err
		}
		look := time.NewTimer(jittered(pause))
		select {
		case <-ctx.Done():
			look.Stop()
			return job, ctx.Err()
		case <-timeout.C:
			look.Stop()
			return q.get(store.Afresh(ctx), id, false)
		case <-ended:
			ended = nil // it is closed for good
		case <-look.C:
		}
		look.Stop()
	}
}

// jittered is a pause of around d, so that instances do not ask all at once.
func jittered(d time.Duration) time.Duration {
	return time.Duration((0.75 + 0.5*rand.Float64()) * float64(d))
}

// job turns a view into a Job. An error means that nothing is known of its request.
func (v *view) job(queue *Queue) (Job, error) {
	j := Job{
		ID: v.id, Queue: queue.Name, Attempts: v.attempts, Lost: v.lost, AppStatus: v.record.status, Reason: v.reason,
		Created: timeOf(v.created), Started: timeOf(v.started), Finished: timeOf(v.finished), Expires: timeOf(v.expires), Bytes: v.size,
	}
	err := j.readHead(v.head)
	switch {
	case v.state == stateDone:
		j.Status = Done
	case v.state == stateFailed:
		j.Status = Failed
	case v.state == stateCancelled:
		j.Status = Cancelled
	case v.state == stateRunning && v.leased:
		j.Status, j.Cancelling = Running, v.cancel != 0
	case v.due > v.now:
		j.Status = Waiting
	default: // a job whose lease has ended is in the queue again
		j.Status, j.Place = Queued, max(1, v.place)
	}
	if !j.Status.Over() {
		j.Due = timeOf(v.due)
		j.Estimate = queue.estimate(v.state, v.due, v.standing)
	}
	return j, err
}

// errUnreadable: Redis has a job, and not its request any more.
var errUnreadable = errors.New("its request is lost")

// readHead fills in what never changes.
func (j *Job) readHead(b []byte) error {
	var h head
	if err := json.Unmarshal(b, &h); err != nil {
		return fmt.Errorf("%w: %w", errUnreadable, err)
	}
	j.Method, j.URL, j.Upstream, j.Route, j.Scheme, j.Host = h.Method, string(h.URL), h.Upstream, h.Route, h.Scheme, h.Host
	j.Header, j.Owner, j.Key, j.Schedule, j.After = h.Header.header(), h.Owner, string(h.Key), h.Schedule, h.After
	return nil
}

// storedResult is an answer as it is stored: in JSON, and its body behind it.
type storedResult struct {
	Status    int          `json:"s"`
	Header    storedFields `json:"h,omitempty"`
	Truncated bool         `json:"t,omitempty"`
}

func encodeResult(a *Answer, most int64) []byte {
	if a.Status == 0 {
		return nil
	}
	body := a.Body
	cut := int64(len(body)) > most
	if cut {
		body = body[:most]
	}
	b, err := json.Marshal(storedResult{a.Status, storedOf(resultFields(a.Header)), a.Truncated || cut})
	if err != nil {
		panic(err) // impossible: numbers and strings
	}
	return append(append(b, '\n'), body...)
}

func decodeResult(b []byte) (Result, error) {
	for i, c := range b { // JSON has no line feed of its own
		if c == '\n' {
			var s storedResult
			err := json.Unmarshal(b[:i], &s)
			return Result{s.Status, s.Header.header(), b[i+1:], s.Truncated}, err
		}
	}
	return Result{}, fmt.Errorf("a result can't be read")
}

// Result returns the app server's last answer to a job that is over: [ErrNotOver] while it is not, [ErrNotFound] where there
// is no job or no answer.
func (q *Queues) Result(ctx context.Context, id string) (Result, error) {
	queue, err := q.queueOf(id)
	if err != nil {
		return Result{}, err
	}
	b, err := q.backend.result(ctx, queue.Name, id)
	if err != nil {
		return Result{}, err
	}
	if b != nil {
		return decodeResult(b)
	}
	job, err := q.Get(ctx, id)
	if err == nil && !job.Status.Over() {
		return Result{}, ErrNotOver
	}
	if err != nil {
		return Result{}, err
	}
	return Result{}, fmt.Errorf("%w: it ended without an answer", ErrNotFound)
}

// Cancel cancels a job, and returns it as it stands then. One that waits is over. One that runs is interrupted, within seconds where
// another instance runs it, and is over then: done, if the app server had answered. Of one that is over nothing changes.
func (q *Queues) Cancel(ctx context.Context, id string) (Job, error) {
	queue, err := q.queueOf(id)
	if err != nil {
		return Job{}, err
	}
	if _, err := q.backend.cancel(ctx, queue.Name, id, stopNow, micros(queue.Keep)); err != nil {
		return Job{}, err
	}
	return q.Get(ctx, id)
}

// CancelOwner cancels the jobs of a user in all queues, and returns how many they were: after a logout everywhere, or when an operator ends
// a user's sessions. The user is that of Source and User, at Host; without a Host, at all hosts. A job that runs is not interrupted, but
// gets no further attempt.
func (q *Queues) CancelOwner(ctx context.Context, o Owner) (n int, err error) {
	user, host := o.digests()
	if user == "" {
		return 0, nil
	}
	if o.Host == "" {
		host = ""
	}
	c := q.config.Load()
	for _, name := range c.names {
		cancelled, err := q.backend.cancelOwner(ctx, name, user, host, micros(c.queues[name].Keep))
		n += cancelled
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
