package jobs

import (
	"context"
	"time"
)

// backend keeps queues: in memory, or in Redis. Both do the same, which a property test holds them to. Each method is one step that
// happens wholly or not at all. Instants and durations are in microseconds, on the backend's own clock.
type backend interface {
	// take stores all of the jobs, which are of one queue, or none.
	take(ctx context.Context, maxBytes int64, jobs []*taking) (takenAll, error)
	claim(ctx context.Context, c *claiming) (claimed, error)
	// body returns what a claim did not bring of a job's body.
	body(ctx context.Context, queue string, c *claim) ([]byte, error)
	renew(ctx context.Context, queue string, length int64, leases []lease) ([]held, error)
	finish(ctx context.Context, f *finishing) (finished, error)
	cancel(ctx context.Context, queue, id string, how cancelling, keep int64) (bool, error)
	// cancelOwner cancels a user's jobs in a queue; host "" is all hosts.
	cancelOwner(ctx context.Context, queue, owner, host string, keep int64) (int, error)
	// view returns nil where there is no such job. asks notes that a client waits for its end.
	view(ctx context.Context, queue, id string, asks bool) (*view, error)
	result(ctx context.Context, queue, id string) ([]byte, error)
	list(ctx context.Context, queue string, status Status, offset, limit int) ([]*view, error)
	pause(ctx context.Context, queue string, paused bool) error
	retry(ctx context.Context, queue, id string) (bool, error)
	// retryFailed retries up to limit failed jobs.
	retryFailed(ctx context.Context, queue string, limit int) (int, error)
	plan(ctx context.Context, p *planning) (planned, error)
	stats(ctx context.Context, queue string) (counts, error)
}

// micros turns a duration into the backends' unit.
func micros(d time.Duration) int64 { return d.Microseconds() }

// timeOf turns the backends' instant into a time; 0 is the zero time.
func timeOf(µs int64) time.Time {
	if µs == 0 {
		return time.Time{}
	}
	return time.UnixMicro(µs).UTC()
}

// record is the part of a job that changes. Redis has it as a hash.
type record struct {
	state    byte  // stateWaiting and so on
	created  int64 // when it was enqueued
	born     int64 // when it was to run first: max_age counts from here
	due      int64 // when it runs at the earliest; a running job's is its place in the queue, should its lease end
	started  int64 // when it was claimed last
	finished int64
	expires  int64 // of a job that is over
	attempts int
	lost     int
	token    string // of the last claim
	size     int64  // what counts towards max_bytes
	headSize int64
	bodySize int64
	owner    string // a digest of the user who asked, or ""
	host     string // a digest of the host that the user is known at
	key      string // a digest of the idempotency key, or ""
	cancel   cancelling
	status   int
	reason   string
	asked    bool // a client waits for its end
}

// States of a job. Whether a waiting one is due is a matter of the clock.
const (
	stateWaiting   = 'w'
	stateRunning   = 'r'
	stateDone      = 'd'
	stateFailed    = 'f'
	stateCancelled = 'c'
)

// overStates are those of jobs that are over, in the order in which they make room for new ones.
var overStates = [...]byte{stateDone, stateCancelled, stateFailed}

// cancelling is what a cancellation asks of a job that runs.
type cancelling int

const (
	noFurther cancelling = 1 // attempt; the one under way may end
	stopNow   cancelling = 2 // the attempt under way is interrupted
)

// taking is a job to be stored.
type taking struct {
	queue, id   string
	head, body  []byte
	owner, host string
	key, print  string // digests of the idempotency key, and of what must be the same under it
	delay, at   int64  // at most one is not 0
}

// size is what a new job counts.
func (t *taking) size() int64 { return int64(len(t.head)+len(t.body)) + jobOverhead }

// takenAs is what became of jobs that were to be stored.
type takenAs byte

const (
	stored   takenAs = 's'
	known    takenAs = 'k' // the same job is there already
	conflict takenAs = 'c' // the key stands for another job
	full     takenAs = 'f' // the queue has no room
)

// takenAll says stored, and what became of each; conflict, and of which job; or full, and how the queue stands.
type takenAll struct {
	as    takenAs
	which int
	jobs  []taken
	standing
}

type taken struct {
	as takenAs // stored or known
	id string  // of the job that is there
	standing
}

// standing is what an estimate is made of.
type standing struct {
	place     int64 // how many waiting jobs are before it, itself included; 0: it does not wait
	average   int64 // of attempts
	notBefore int64 // the queue pauses until then; 0 or past: it does not
	now       int64
}

// claiming asks for jobs to run.
type claiming struct {
	queue       string
	most        int
	concurrency int
	lease       int64
	maxAge      int64
	keep        int64
	inline      int64  // how much of a body travels with the claim
	token       string // of the leases
	undo        string // the token of a claim that was not answered, whose jobs go back
}

type claimed struct {
	jobs []*claim
	// next is how long it takes until a claim can be granted something, as far as is known; -1: unknown.
	next int64
	// expired are jobs that failed because of max_age, and lost how many leases had ended.
	expired []string
	lost    int
}

// claim is a job and the lease for it.
type claim struct {
	id string
	record
	head []byte
	body []byte // as much as claiming.inline
	now  int64
}

// lease is a worker's right to run a job.
type lease struct{ id, token string }

// held is what became of a lease that was renewed.
type held byte

const (
	leaseHeld    held = 'h'
	leaseLost    held = 'l' // it ended, and the job runs elsewhere or is over
	leaseStopped held = 's' // the job was cancelled: stop
)

// finishing ends an attempt.
type finishing struct {
	queue, id, token string
	state            byte // stateDone, stateFailed or stateWaiting
	attempt          bool
	front            bool // the job keeps its place, and its count of losses
	delay, slow      int64
	keep             int64
	maxBytes         int64
	took             int64 // how long the attempt was; 0: it says nothing about the next one's
	status           int
	reason           string
	result           []byte
	followUps        []*taking
	replicated       bool // replicas must have it, where the store waits for some
}

type finished byte

const (
	finishedNow    finished = 'f'
	finishedBefore finished = 'b' // by the same token: the reply was lost
	finishedLost   finished = 'l' // the lease was another's by now, or the job is gone
)

// view is a job as it is shown.
type view struct {
	id string
	record
	head []byte
	standing
	leased bool // its lease has not ended
}

// planning is a schedule's job for a time.
type planning struct {
	schedule string
	planned  int64  // the newest of the times that are due, 0: none is
	identity string // of its times: with others it begins now
	overlap  bool
	skip     bool // the time is missed: do not enqueue
	*taking
}

// planned is what became of it.
type planned struct {
	as plannedAs
	// last is the newest time that was dealt with.
	last int64
	now  int64
}

type plannedAs byte

const (
	planStored  plannedAs = 's'
	planBefore  plannedAs = 'b' // by another instance
	planBegun   plannedAs = 'n' // the schedule was not known; its times begin now
	planOverlap plannedAs = 'o' // the job of before is not over
	planSkipped plannedAs = 'k'
	planEarly   plannedAs = 'e' // by the backend's clock the time has not come
)

// counts are a queue's numbers.
type counts struct {
	queued, waiting, running, done, failed, cancelled int64
	live, kept                                        int64 // bytes
	oldest                                            int64 // due of the first that waits; 0: none does
	paused                                            bool
	standing
}
