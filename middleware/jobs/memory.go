package jobs

import (
	"context"
	"sync"
	"time"
)

// memory keeps queues in this process. Its methods are the reference for the scripts of the lua folder.
type memory struct {
	now   func() time.Time
	start time.Time // with the monotonic clock's reading: the machine's clock may be set
	hub   *hub

	mu     sync.Mutex
	queues map[string]*memoryQueue
}

func newMemory(now func() time.Time, h *hub) *memory {
	return &memory{now: now, start: now(), hub: h, queues: make(map[string]*memoryQueue)}
}

// memoryQueue is one queue. Each field but the average is a key of Redis.
type memoryQueue struct {
	name      string
	hub       *hub
	now       int64
	order     int64 // of the newest job
	jobs      map[string]*memoryJob
	waiting   zset // by due
	running   zset // by the end of the lease
	over      map[byte]*overSet
	keys      map[string]memoryKey
	owners    map[string]map[string]struct{} // IDs of a user's jobs that are not over
	schedules map[string]*memorySchedule
	live      int64 // bytes of jobs that wait and run
	average   int64
	notBefore int64
	paused    bool
}

// overSet is the jobs that ended in one way, by when they are forgotten.
type overSet struct {
	zset
	bytes int64
}

type memoryJob struct {
	record
	order    int64 // of being stored
	leaseEnd int64
	head     []byte
	body     []byte
	result   []byte
}

type memoryKey struct{ id, print string }

type memorySchedule struct {
	identity string
	last     int64
	job      string
}

// at returns a queue with its clock set to now, without jobs whose time to be kept is over. m.mu is held.
func (m *memory) at(name string) *memoryQueue {
	q := m.queues[name]
	if q == nil {
		q = &memoryQueue{
			name: name, hub: m.hub, jobs: make(map[string]*memoryJob), keys: make(map[string]memoryKey), owners: make(map[string]map[string]struct{}),
			schedules: make(map[string]*memorySchedule),
			over:      map[byte]*overSet{stateDone: {}, stateFailed: {}, stateCancelled: {}},
		}
		m.queues[name] = q
	}
	q.now = max(q.now, m.start.UnixMicro()+micros(m.now().Sub(m.start)))
	for _, state := range overStates {
		set := q.over[state]
		for set.len() > 0 && set.entries[0].score <= q.now {
			q.forget(q.jobs[set.entries[0].member], set.entries[0].member)
		}
	}
	return q
}

// forget removes a job that is over.
func (q *memoryQueue) forget(j *memoryJob, id string) {
	q.leaveOver(j, id)
	delete(q.jobs, id)
	if k, ok := q.keys[j.key]; ok && k.id == id {
		delete(q.keys, j.key)
	}
}

func (q *memoryQueue) leaveOver(j *memoryJob, id string) {
	set := q.over[j.state]
	set.remove(j.expires, 0, id)
	set.bytes -= j.size
}

func (q *memoryQueue) kept() (bytes int64) {
	for _, set := range q.over {
		bytes += set.bytes
	}
	return bytes
}

// roomed is how many jobs that are over make room in one step at most, besides two for each job that is stored, so that no step takes long and
// several catch up.
const roomed = 16

// makeRoom forgets the oldest jobs that are over while these take more than maxBytes.
func (q *memoryQueue) makeRoom(maxBytes int64, stored int) {
	dropped, most := 0, roomed+2*stored
	for _, state := range overStates {
		set := q.over[state]
		for dropped < most && set.len() > 0 && q.kept() > maxBytes {
			q.forget(q.jobs[set.entries[0].member], set.entries[0].member)
			dropped++
		}
	}
}

// store adds a new job, behind which so many more are stored at once: they keep their order by microseconds.
func (q *memoryQueue) store(t *taking, behind int) {
	q.order++
	j := &memoryJob{order: q.order, head: t.head, body: t.body}
	j.record = record{
		state: stateWaiting, created: q.now, due: max(q.now+t.delay, t.at) - int64(behind), size: t.size(), headSize: int64(len(t.head)), bodySize: int64(len(t.body)),
		owner: t.owner, host: t.host, key: t.key,
	}
	j.born = j.due
	q.jobs[t.id] = j
	q.waiting.add(j.due, j.order, t.id)
	q.live += j.size
	if t.key != "" {
		q.keys[t.key] = memoryKey{t.id, t.print}
	}
	if t.owner != "" {
		if q.owners[t.owner] == nil {
			q.owners[t.owner] = make(map[string]struct{})
		}
		q.owners[t.owner][t.id] = struct{}{}
	}
}

func (q *memoryQueue) standing(j *memoryJob, id string) standing {
	s := standing{average: q.average, notBefore: q.notBefore, now: q.now}
	if j != nil && j.state == stateWaiting {
		s.place = int64(q.waiting.rank(j.due, j.order, id)) + 1
	}
	return s
}

func (m *memory) take(_ context.Context, maxBytes int64, jobs []*taking) (takenAll, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.at(jobs[0].queue)
	bytes, keys := q.live, make(map[string]memoryKey)
	var fresh []*taking
	reply := takenAll{as: stored}
	for i, t := range jobs {
		job := taken{as: stored, id: t.id}
		if q.jobs[t.id] == nil {
			k, ok := keys[t.key]
			if !ok {
				k, ok = q.keys[t.key]
			}
			switch {
			case ok && t.key != "" && k.print != t.print:
				return takenAll{as: conflict, which: i}, nil
			case ok && t.key != "":
				job = taken{as: known, id: k.id}
			default:
				keys[t.key] = memoryKey{t.id, t.print}
				fresh = append(fresh, t)
				bytes += t.size()
			}
		}
		reply.jobs = append(reply.jobs, job)
	}
	if len(fresh) > 0 && bytes > maxBytes {
		return takenAll{as: full, standing: q.standing(nil, "")}, nil
	}
	for i, t := range fresh {
		q.store(t, len(fresh)-1-i)
	}
	if len(fresh) > 0 {
		q.makeRoom(maxBytes, len(fresh))
		m.stored(q, fresh[0].id)
	}
	for i := range reply.jobs {
		id := reply.jobs[i].id
		reply.jobs[i].standing = q.standing(q.jobs[id], id)
	}
	return reply, nil
}

// stored wakes workers where a job is the first that waits: behind others it runs when those have.
func (m *memory) stored(q *memoryQueue, id string) {
	if q.waiting.entries[0].member == id {
		m.hub.wake()
	}
}

// toWaiting puts a job that runs, or has failed, back in the queue.
func (q *memoryQueue) toWaiting(j *memoryJob, id string) {
	j.state = stateWaiting
	q.waiting.add(j.due, j.order, id)
}

// toOver ends a job that waits or runs and is in none of the sets any more.
func (q *memoryQueue) toOver(j *memoryJob, id string, state byte, keep int64, result []byte) {
	q.live -= j.size
	if state != stateFailed {
		j.size -= j.bodySize
		j.body, j.bodySize = nil, 0
	}
	j.size += int64(len(result))
	j.state, j.finished, j.expires, j.result = state, q.now, q.now+keep, result
	set := q.over[state]
	set.add(j.expires, 0, id)
	set.bytes += j.size
	if ids := q.owners[j.owner]; ids != nil {
		delete(ids, id)
		if len(ids) == 0 {
			delete(q.owners, j.owner)
		}
	}
	q.hub.over(id)
}

func (m *memory) claim(_ context.Context, c *claiming) (claimed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.at(c.queue)
	reply := claimed{next: -1, lost: q.endLeases(c.keep)}
	q.undo(c.undo, c.keep)
	if q.paused {
		return reply, nil
	}
	if q.notBefore > q.now {
		reply.next = q.notBefore - q.now
		return reply, nil
	}
	free := min(c.most, c.concurrency-q.running.len())
	for steps := 0; steps < claimSteps && len(reply.jobs) < free && q.waiting.upTo(q.now) > 0; steps++ {
		e := q.waiting.entries[0]
		j := q.jobs[e.member]
		q.waiting.remove(e.score, e.order, e.member)
		if j.born+c.maxAge <= q.now {
			j.reason = expiredReason
			q.toOver(j, e.member, stateFailed, c.keep, nil)
			reply.expired = append(reply.expired, e.member)
			continue
		}
		reply.jobs = append(reply.jobs, q.lease(e.member, c))
	}
	switch {
	case q.running.len() >= c.concurrency:
		reply.next = q.running.entries[0].score - q.now
	case q.waiting.len() > 0:
		reply.next = max(0, q.waiting.entries[0].score-q.now)
	}
	return reply, nil
}

// claimSteps is how many jobs one claim looks at, of which those that are too old fail.
const claimSteps = 64

const expiredReason = "max_age was over before an app server had done it"

// lease gives a job to a worker.
func (q *memoryQueue) lease(id string, c *claiming) *claim {
	j := q.jobs[id]
	j.state, j.started, j.token, j.leaseEnd = stateRunning, q.now, c.token, q.now+c.lease
	q.running.add(j.leaseEnd, 0, id)
	return &claim{id: id, record: j.record, head: j.head, body: j.body[:min(int64(len(j.body)), c.inline)], now: q.now}
}

// endLeases puts the jobs back whose leases have ended, each at its place, and returns how many they were.
func (q *memoryQueue) endLeases(keep int64) (lost int) {
	for q.running.len() > 0 && q.running.entries[0].score <= q.now {
		id := q.running.entries[0].member
		q.giveBack(q.jobs[id], id, keep)
		lost++
	}
	return lost
}

// giveBack puts a job back whose lease ends without an answer. One that was cancelled meanwhile is over.
func (q *memoryQueue) giveBack(j *memoryJob, id string, keep int64) {
	q.running.remove(j.leaseEnd, 0, id)
	j.token = ""
	if j.cancel != 0 {
		q.toOver(j, id, stateCancelled, keep, nil)
		return
	}
	q.toWaiting(j, id)
}

// undo gives back the jobs of a claim whose reply was lost.
func (q *memoryQueue) undo(token string, keep int64) {
	if token == "" {
		return
	}
	for _, e := range append([]entry(nil), q.running.entries...) {
		if j := q.jobs[e.member]; j.token == token {
			q.giveBack(j, e.member, keep)
		}
	}
}

func (m *memory) body(_ context.Context, queue string, c *claim) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.at(queue).jobs[c.id]
	if j == nil || len(c.body) > len(j.body) {
		return nil, nil
	}
	return j.body[len(c.body):], nil
}

func (m *memory) renew(_ context.Context, queue string, length int64, leases []lease) ([]held, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.at(queue)
	reply := make([]held, 0, len(leases))
	for _, l := range leases {
		j := q.jobs[l.id]
		if j == nil || j.state != stateRunning || j.token != l.token {
			reply = append(reply, leaseLost)
			continue
		}
		q.running.remove(j.leaseEnd, 0, l.id)
		j.leaseEnd = q.now + length
		q.running.add(j.leaseEnd, 0, l.id)
		if j.cancel == stopNow {
			reply = append(reply, leaseStopped)
		} else {
			reply = append(reply, leaseHeld)
		}
	}
	return reply, nil
}

func (m *memory) finish(_ context.Context, f *finishing) (finished, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.at(f.queue)
	j := q.jobs[f.id]
	switch {
	case j == nil || j.token != f.token || f.token == "":
		return finishedLost, nil
	case j.state != stateRunning:
		return finishedBefore, nil
	}
	q.running.remove(j.leaseEnd, 0, f.id)
	q.learn(f.took)
	if f.slow > 0 {
		q.notBefore = max(q.notBefore, q.now+f.slow)
	}
	j.note(f)
	state := f.state
	if state == stateWaiting && j.cancel != 0 {
		state = stateCancelled
	}
	if state == stateWaiting {
		if !f.front {
			j.due = q.now + f.delay
		}
		q.toWaiting(j, f.id)
		m.hub.wake()
		return finishedNow, nil
	}
	q.toOver(j, f.id, state, f.keep, f.result)
	for i, t := range f.followUps {
		q.store(t, len(f.followUps)-1-i)
	}
	q.makeRoom(f.maxBytes, len(f.followUps))
	m.hub.wake()
	return finishedNow, nil
}

// note notes how an attempt ended.
func (r *record) note(f *finishing) {
	switch {
	case f.attempt:
		r.attempts++
		r.lost = 0
	case !f.front:
		r.lost++
	}
	r.status, r.reason = f.status, f.reason
}

// learn counts an attempt's duration in the average, by an eighth.
func (q *memoryQueue) learn(took int64) {
	switch {
	case took <= 0:
	case q.average == 0:
		q.average = took
	default:
		q.average = (7*q.average + took) / 8
	}
}
