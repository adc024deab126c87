package jobs

import (
	"context"
	"slices"
)

func (m *memory) cancel(_ context.Context, queue, id string, how cancelling, keep int64) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.at(queue)
	j := q.jobs[id]
	if j == nil {
		return false, nil
	}
	return m.cancelOne(q, j, id, how, keep), nil
}

// cancelOne cancels a job that is not over, and reports whether that is news.
func (m *memory) cancelOne(q *memoryQueue, j *memoryJob, id string, how cancelling, keep int64) bool {
	switch j.state {
	case stateWaiting:
		q.waiting.remove(j.due, j.order, id)
		j.cancel, j.token, j.reason = how, "", cancelledReason
		q.toOver(j, id, stateCancelled, keep, nil)
		return true
	case stateRunning:
		if j.cancel >= how {
			return false
		}
		j.cancel = how
		return true
	}
	return false
}

const cancelledReason = "it was cancelled"

func (m *memory) cancelOwner(_ context.Context, queue, owner, host string, keep int64) (n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.at(queue)
	for id := range q.owners[owner] {
		j := q.jobs[id]
		if (host == "" || j.host == host) && m.cancelOne(q, j, id, noFurther, keep) {
			n++
		}
	}
	return n, nil
}

func (m *memory) view(_ context.Context, queue, id string, asks bool) (*view, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.at(queue)
	j := q.jobs[id]
	if j == nil {
		return nil, nil
	}
	v := q.view(j, id)
	if asks && (j.state == stateWaiting || j.state == stateRunning) {
		j.asked = true
	}
	return v, nil
}

func (q *memoryQueue) view(j *memoryJob, id string) *view {
	return &view{id: id, record: j.record, head: j.head, standing: q.standing(j, id), leased: j.state == stateRunning && j.leaseEnd > q.now}
}

func (m *memory) result(_ context.Context, queue, id string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if j := m.at(queue).jobs[id]; j != nil {
		return j.result, nil
	}
	return nil, nil
}

func (m *memory) list(_ context.Context, queue string, status Status, offset, limit int) ([]*view, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.at(queue)
	due := q.waiting.upTo(q.now)
	var entries []entry
	switch status {
	case Queued:
		entries = q.waiting.entries[:due]
	case Waiting:
		entries = q.waiting.entries[due:]
	case Running:
		entries = q.running.entries
	default: // the newest first
		entries = slices.Clone(q.over[stateOf(status)].entries)
		slices.Reverse(entries)
	}
	entries = entries[min(offset, len(entries)):]
	views := make([]*view, 0, min(limit, len(entries)))
	for _, e := range entries[:min(limit, len(entries))] {
		views = append(views, q.view(q.jobs[e.member], e.member))
	}
	return views, nil
}

// stateOf is the state of jobs that are over with this status.
func stateOf(s Status) byte {
	switch s {
	case Done:
		return stateDone
	case Failed:
		return stateFailed
	}
	return stateCancelled
}

func (m *memory) pause(_ context.Context, queue string, paused bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at(queue).paused = paused
	if !paused {
		m.hub.wake()
	}
	return nil
}

func (m *memory) retry(_ context.Context, queue, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.at(queue)
	j := q.jobs[id]
	if j == nil || j.state != stateFailed {
		return false, nil
	}
	q.again(j, id, q.now)
	m.hub.wake()
	return true, nil
}

// again puts a failed job back as if it were new: with all of its attempts, and its whole max_age.
func (q *memoryQueue) again(j *memoryJob, id string, due int64) {
	q.leaveOver(j, id)
	j.size -= int64(len(j.result))
	j.result = nil
	j.attempts, j.lost, j.token, j.cancel, j.finished, j.expires = 0, 0, "", 0, 0, 0
	j.born, j.due = due, due
	q.toWaiting(j, id)
	q.live += j.size
	if j.owner != "" {
		if q.owners[j.owner] == nil {
			q.owners[j.owner] = make(map[string]struct{})
		}
		q.owners[j.owner][id] = struct{}{}
	}
}

func (m *memory) retryFailed(_ context.Context, queue string, limit int) (n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.at(queue)
	for failed := q.over[stateFailed]; n < limit && failed.len() > 0; n++ {
		id := failed.entries[0].member
		q.again(q.jobs[id], id, q.now-int64(limit-1-n))
	}
	if n > 0 {
		m.hub.wake()
	}
	return n, nil
}

func (m *memory) plan(_ context.Context, p *planning) (planned, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.at(p.queue)
	s := q.schedules[p.schedule]
	if s == nil {
		s = new(memorySchedule)
		q.schedules[p.schedule] = s
	}
	if s.identity != p.identity {
		s.identity, s.last = p.identity, q.now
		return planned{planBegun, q.now, q.now}, nil
	}
	switch {
	case p.planned <= s.last:
		return planned{planBefore, s.last, q.now}, nil
	case p.planned > q.now:
		return planned{planEarly, s.last, q.now}, nil
	}
	s.last = p.planned
	if p.skip {
		return planned{planSkipped, s.last, q.now}, nil
	}
	if j := q.jobs[s.job]; j != nil && !p.overlap && (j.state == stateWaiting || j.state == stateRunning) {
		return planned{planOverlap, s.last, q.now}, nil
	}
	s.job = p.id
	q.store(p.taking, 0)
	m.stored(q, p.id)
	return planned{planStored, s.last, q.now}, nil
}

func (m *memory) stats(_ context.Context, queue string) (counts, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.at(queue)
	due := q.waiting.upTo(q.now)
	c := counts{
		queued: int64(due), waiting: int64(q.waiting.len() - due), running: int64(q.running.len() - q.running.upTo(q.now)),
		done: int64(q.over[stateDone].len()), failed: int64(q.over[stateFailed].len()), cancelled: int64(q.over[stateCancelled].len()),
		live: q.live, kept: q.kept(), paused: q.paused, standing: q.standing(nil, ""),
	}
	if q.waiting.len() > 0 {
		c.oldest = q.waiting.entries[0].score
	}
	return c, nil
}
