package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"
)

// attempt makes one attempt at a job that was claimed, and stores what became of it.
func (w *worker) attempt(ctx context.Context, queue *Queue, c *claim) {
	e := &Attempt{Number: c.attempts + 1, Waited: time.Duration(max(0, c.started-c.due)) * time.Microsecond}
	var v verdict
	var err error
	if e.Job, err = w.load(ctx, queue, c); err != nil {
		e.Job = &Job{ID: c.id, Queue: queue.Name}
		e.Answer = &Answer{Reason: "the job can't be read: " + err.Error()}
	} else {
		e.Answer, e.Took = w.call(ctx, queue, e.Job, e.Number)
	}
	if current, ok := w.Queue(queue.Name); ok { // it may have changed while the job ran
		queue = &current
	}
	age := time.Duration(c.now-c.born)*time.Microsecond + e.Took
	v = queue.decide(c.attempts, c.lost, age, e.Answer, rand.Float64())
	e.Outcome = outcomeOf(&v)
	interrupted := context.Cause(ctx)
	switch {
	case interrupted != nil && e.Answer.Status == 0: // another attempt is no fault of the app server
		v = verdict{status: Waiting, front: true, reason: interrupted.Error()}
		e.Outcome = OutcomeReleased
	case errors.Is(err, errUnreadable):
		v.status, e.Outcome = Failed, OutcomeFailed
	}
	switch stored := w.store(ctx, w.finishing(queue, c, e, &v)); {
	case stored == finishedLost:
		e.Outcome = OutcomeLost
	case errors.Is(interrupted, errCancelled) && e.Outcome == OutcomeReleased:
		e.Outcome = OutcomeCancelled
	}
	e.Reason, e.Pause = v.reason, v.delay
	w.observer.Ended(e)
}

// load turns a claim into the job that a Runner is given.
func (w *worker) load(ctx context.Context, queue *Queue, c *claim) (*Job, error) {
	v := view{id: c.id, record: c.record, head: c.head, leased: true, standing: standing{now: c.now}}
	job, err := v.job(queue)
	if err != nil {
		return nil, err
	}
	job.Body = c.body
	if have := int64(len(c.body)); have < c.bodySize {
		rest, err := w.backend.body(ctx, queue.Name, c)
		if err != nil {
			return nil, err
		}
		job.Body = append(job.Body[:have:have], rest...)
		if int64(len(job.Body)) != c.bodySize {
			return nil, fmt.Errorf("%w: %d of %d bytes of its body are there", errUnreadable, len(job.Body), c.bodySize)
		}
	}
	return &job, nil
}

// call calls the Runner, and says how long that took.
func (w *worker) call(ctx context.Context, queue *Queue, job *Job, number int) (*Answer, time.Duration) {
	w.observer.Began(queue.Name)
	limited, cancel := context.WithTimeout(ctx, queue.Timeout)
	defer cancel()
	begun := time.Now()
	a := w.safely(limited, job, number)
	return &a, time.Since(begun)
}

// safely calls the Runner. One that panics has made an attempt.
func (w *worker) safely(ctx context.Context, job *Job, number int) (a Answer) {
	defer func() {
		if p := recover(); p != nil {
			w.log.Error("a job's runner panicked", "job", job.ID, "panic", p)
			a = Answer{Sent: true, Reason: "the worker panicked"}
		}
	}()
	return w.runner(ctx, job, number)
}

func outcomeOf(v *verdict) Outcome {
	switch {
	case v.status == Done:
		return OutcomeDone
	case v.status == Failed:
		return OutcomeFailed
	case v.attempt:
		return OutcomeAgain
	}
	return OutcomeUnsent
}

// finishing is what is stored of an attempt.
func (w *worker) finishing(queue *Queue, c *claim, e *Attempt, v *verdict) *finishing {
	a := e.Answer
	f := &finishing{
		queue: queue.Name, id: c.id, token: c.token, state: stateWaiting, attempt: v.attempt, front: v.front, delay: micros(v.delay), slow: micros(v.slow),
		keep: micros(queue.Keep), maxBytes: queue.MaxBytes, status: a.Status, reason: shorten(v.reason),
	}
	if a.Status != 0 {
		f.took = max(1, micros(e.Took))
	}
	switch v.status {
	case Done:
		f.state = stateDone
		f.result = encodeResult(a, queue.MaxBody)
		f.followUps = w.followUps(queue, e.Job, a)
	case Failed:
		f.state = stateFailed
		f.result = encodeResult(a, queue.MaxBody)
	}
	return f
}

// mostReason is how long a reason is that is stored, in bytes.
const mostReason = 200

func shorten(s string) string {
	if len(s) > mostReason {
		s = strings.ToValidUTF8(s[:mostReason], "")
	}
	return s
}

// mostFollowUps is how many follow-ups one answer may name.
const mostFollowUps = 16

// followUps are the jobs that an answer names: POSTs to the same upstream, without an owner.
func (w *worker) followUps(queue *Queue, job *Job, a *Answer) (all []*taking) {
	for i, path := range a.Header[EnqueueHeader] {
		if followUp := (Spec{URL: path}); i >= mostFollowUps || followUp.Validate() != nil {
			w.log.Warn("the app server names a follow-up that is no path, or one too many", "job", job.ID, "follow_up", path)
			continue
		}
		h := head{Method: "POST", URL: octets(path), Upstream: job.Upstream, Route: job.Route, Scheme: job.Scheme, Host: job.Host, After: job.ID}
		all = append(all, &taking{queue: queue.Name, id: newID(queue.Name), head: h.encode()})
	}
	return all
}

const firstPause = 50 * time.Millisecond

// store stores what became of an attempt, and tries again while Redis is away: the same token makes it happen once.
func (w *worker) store(ctx context.Context, f *finishing) finished {
	var stopping time.Time // when the worker was told to stop
	begun := time.Now()
	for pause := firstPause; ; pause = min(2*pause, time.Second) {
		f.replicated = pause <= 4*firstPause // then the primary alone has it: a failover could make the job run again, no more
		done, err := w.backend.finish(context.WithoutCancel(ctx), f)
		if err == nil {
			return done
		}
		if stopping.IsZero() && w.runs.Err() != nil {
			stopping = time.Now()
		}
		if time.Since(begun) > finishFor || !stopping.IsZero() && time.Since(stopping) > stopFor {
			w.log.LogAttrs(ctx, slog.LevelError, "what became of a job can't be stored; it runs again", slog.String("job", f.id), slog.Any("error", err))
			return finishedLost
		}
		time.Sleep(jittered(pause))
	}
}
