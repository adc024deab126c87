package jobs

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"
)

// missedAfter is when a time counts as missed that no instance has dealt with.
const missedAfter = time.Minute

// planMost is how long a worker waits at most before it looks at the schedules again: its clock may be set, or the schedules
// edited.
const planMost = 15 * time.Second

// enqueueScheduled enqueues the jobs of schedules until ctx ends.
func (q *Queues) enqueueScheduled(ctx context.Context) {
	for {
		pause := planMost
		edited := q.config.Load().replaced
		next, err := q.Plan(ctx)
		switch {
		case err != nil:
			q.log.LogAttrs(ctx, slog.LevelDebug, "schedules can't be looked at", slog.Any("error", err))
			pause = jittered(time.Second)
		case !next.IsZero():
			pause = min(pause, max(next.Sub(q.time()), 10*time.Millisecond))
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-edited:
			timer.Stop()
		}
	}
}

// reading is what the backend's clock showed when this instance's did.
type reading struct {
	here    time.Time
	backend int64
}

// time is the backend's, as far as is known: that of all instances. A clock of this instance that is set changes nothing.
func (q *Queues) time() time.Time {
	now := q.now()
	if r := q.clock.Load(); r != nil {
		return time.UnixMicro(r.backend).Add(now.Sub(r.here))
	}
	return now
}

// Plan enqueues the jobs of schedules that are due, unless another instance has, and returns when the next one is; the zero time:
// there are no schedules. A schedule that was never seen before, or whose times were edited, begins now. Work calls it by
// itself; it is for tests with a clock of their own.
func (q *Queues) Plan(ctx context.Context) (next time.Time, err error) {
	c := q.config.Load()
	for _, name := range slices.Sorted(maps.Keys(c.schedules)) {
		s := c.schedules[name]
		at, planErr := q.planOne(ctx, s, c.queues[s.Queue])
		if planErr != nil {
			err = planErr
			continue
		}
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next, err
}

// planOne enqueues a schedule's job, if one is due, and returns when the next one is.
func (q *Queues) planOne(ctx context.Context, s *plan, queue *Queue) (time.Time, error) {
	known := s.Queue + "\x00" + s.Name + "\x00" + s.identity
	q.mu.Lock()
	last, ok := q.lastOf[known]
	q.mu.Unlock()
	if !ok {
		reply, err := q.plan(ctx, s, queue, time.Time{}, known)
		if err != nil {
			return time.Time{}, err
		}
		last = reply.last
	}
	now := q.time()
	due := s.newest(time.UnixMicro(last), now)
	if due.IsZero() {
		return s.next(now), nil
	}
	reply, err := q.plan(ctx, s, queue, due, known)
	if err != nil {
		return time.Time{}, err
	}
	if reply.as == planEarly {
		return due, nil
	}
	return s.next(q.time()), nil
}

// plan has the backend deal with a time of a schedule; the zero time asks what was dealt with last.
func (q *Queues) plan(ctx context.Context, s *plan, queue *Queue, due time.Time, known string) (planned, error) {
	p := &planning{schedule: s.Name, identity: s.identity, overlap: s.Overlap, taking: s.taking(queue)}
	asked := q.now()
	if !due.IsZero() {
		p.planned = due.UnixMicro()
		p.skip = s.Missed == Skip && q.time().Sub(due) > missedAfter
	}
	reply, err := q.backend.plan(ctx, p)
	if err != nil {
		return planned{}, err
	}
	q.clock.Store(&reading{asked, reply.now})
	q.mu.Lock()
	q.lastOf[known] = reply.last
	q.mu.Unlock()
	switch reply.as {
	case planStored:
		q.observer.Taken(s.Queue, s.Name)
	case planOverlap:
		q.log.Info("a schedule's time is left out: its job of before is not over", "schedule", s.Name, "time", due)
	case planSkipped:
		q.log.Info("a schedule's time was missed", "schedule", s.Name, "time", due)
	}
	return reply, nil
}

// taking is the schedule's job.
func (s *plan) taking(queue *Queue) *taking {
	header := make(http.Header, len(s.Headers))
	for name, value := range s.Headers {
		header.Set(name, value)
	}
	h := head{Method: s.Method, URL: octets(s.URL), Upstream: s.Upstream, Header: storedOf(header), Schedule: s.Name}
	return &taking{queue: queue.Name, id: newID(queue.Name), head: h.encode(), body: []byte(s.Body)}
}

// lookBack are the spans in which the newest time is looked for: the first that has one has few.
var lookBack = [...]time.Duration{time.Minute, time.Hour, 25 * time.Hour, 32 * 24 * time.Hour, longest, 9 * longest}

// newest is the newest time after last and not after now, zero if there is none.
func (ts *times) newest(last, now time.Time) (newest time.Time) {
	for _, span := range lookBack {
		from := now.Add(-span)
		if from.Before(last) {
			from = last
		}
		for t := ts.next(from); !t.IsZero() && !t.After(now); t = ts.next(t) {
			newest = t
		}
		if !newest.IsZero() || !from.After(last) {
			break
		}
	}
	return newest
}
