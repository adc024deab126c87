package jobs

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/middleware/problem"
	"github.com/headgate/headgate/middleware/store"
)

var (
	// ErrNotFound: there is no such job, or it was over longer ago than its queue keeps it.
	ErrNotFound = errors.New("there is no such job")
	// ErrNoQueue: no queue has this name.
	ErrNoQueue = errors.New("there is no such queue")
	// ErrConflict: the idempotency key stands for another job.
	ErrConflict = errors.New("the idempotency key was used for another request")
	// ErrSpec is wrapped by what is wrong with a [Spec].
	ErrSpec = errors.New("that can't be a job")
	// ErrTooLarge: the body is larger than the queue's MaxBody.
	ErrTooLarge = errors.New("the body is larger than what the queue takes")
	// ErrFull is wrapped by a [FullError].
	ErrFull = errors.New("the queue is full")
	// ErrNotOver: the job has no result yet.
	ErrNotOver = errors.New("the job is not over")
	// ErrState: the job's status does not allow it, such as to retry one that has not failed.
	ErrState = errors.New("the job's status does not allow that")
	// ErrUnavailable is wrapped by every failure of Redis itself. Whether a job was stored is then unknown, and a caller
	// that was told so may ask again with the same idempotency key.
	ErrUnavailable = errors.New("the queues are unavailable")
)

// FullError is an ErrFull that says when the queue may have room.
type FullError struct{ RetryAfter time.Duration }

func (e *FullError) Error() string { return ErrFull.Error() }
func (e *FullError) Unwrap() error { return ErrFull }

// Options says what queues there are, and where their jobs are.
type Options struct {
	// Redis keeps the jobs, for all instances that share it, and outlives Queues. Nil: this process does, and they are lost when it ends.
	Redis *store.Redis
	// Queues and Schedules by name; the Name of each is set from it. See [Queues.Configure].
	Queues    map[string]Queue
	Schedules map[string]Schedule
	// Now is the clock of schedules, which Redis' own corrects, and of jobs that this process keeps. Default time.Now.
	Now func() time.Time
	// Logger is told what concerns no single job. Nil means no log.
	Logger *slog.Logger
	// Observer is told of each job. Nil means none.
	Observer Observer
}

// Queues are queues of jobs, shared by all instances that share a Redis. They are safe for concurrent use.
type Queues struct {
	backend  backend
	hub      *hub
	now      func() time.Time
	log      *slog.Logger
	observer Observer
	config   atomic.Pointer[config]

	mu      sync.Mutex
	lastOf  map[string]int64 // by schedule and identity: the newest time that was dealt with
	clock   atomic.Pointer[reading]
	closing []func()
}

// config is what a reload replaces.
type config struct {
	queues    map[string]*Queue
	names     []string // of the queues, sorted
	schedules map[string]*plan
	replaced  chan struct{} // closed when another one is in force
}

// plan is a schedule with its times.
type plan struct {
	Schedule
	*times
	identity string
}

// New returns queues. The error says what is wrong with the options. [Queues.Close] ends what they do in the background.
func New(o Options) (*Queues, error) {
	q := &Queues{hub: newHub(), now: o.Now, log: o.Logger, observer: o.Observer, lastOf: make(map[string]int64)}
	if q.now == nil {
		q.now = time.Now
	}
	if q.log == nil {
		q.log = slog.New(slog.DiscardHandler)
	}
	if q.observer == nil {
		q.observer = NopObserver{}
	}
	if err := q.Configure(o.Queues, o.Schedules); err != nil {
		return nil, err
	}
	if o.Redis == nil {
		q.backend = newMemory(q.now, q.hub)
		return q, nil
	}
	b := newRedisBackend(o.Redis)
	q.backend = b
	q.closing = append(q.closing, b.listen(q.hub))
	return q, nil
}

// Configure replaces the queues and schedules, also while jobs run: those go on by the timeout that they began with, and what
// becomes of them is decided by the queue of now. The jobs of a queue that is gone stay where they are, until a queue has
// that name again.
func (q *Queues) Configure(queues map[string]Queue, schedules map[string]Schedule) error {
	c := &config{queues: make(map[string]*Queue, len(queues)), schedules: make(map[string]*plan, len(schedules)), replaced: make(chan struct{})}
	var errs []error
	for name, queue := range queues {
		queue.Name = name
		queue.SetDefaults()
		errs = append(errs, problem.Error("jobs: queue "+name, queue.Validate()))
		c.queues[name] = &queue
	}
	for name, s := range schedules {
		s.Name = name
		s.SetDefaults()
		errs = append(errs, problem.Error("jobs: schedule "+name, s.Validate()))
		if _, ok := queues[s.Queue]; !ok && s.Queue != "" {
			errs = append(errs, fmt.Errorf("jobs: schedule %s: %w: %s", name, ErrNoQueue, s.Queue))
		}
		if t, err := s.times(); err == nil {
			c.schedules[name] = &plan{s, t, digest(s.Cron, s.Timezone)}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	c.names = slices.Sorted(maps.Keys(c.queues))
	if before := q.config.Swap(c); before != nil {
		close(before.replaced)
	}
	q.hub.wake() // a queue may have more places
	return nil
}

// Queue returns the queue of a name.
func (q *Queues) Queue(name string) (Queue, bool) {
	if queue := q.config.Load().queues[name]; queue != nil {
		return *queue, true
	}
	return Queue{}, false
}

// Names are those of the queues, sorted.
func (q *Queues) Names() []string { return q.config.Load().names }

// queue returns the queue of a name, or an error.
func (q *Queues) queue(name string) (*Queue, error) {
	if queue := q.config.Load().queues[name]; queue != nil {
		return queue, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrNoQueue, name)
}

// queueOf returns the queue of a job's ID. A job whose queue is not known is not found.
func (q *Queues) queueOf(id string) (*Queue, error) {
	name, ok := QueueOf(id)
	if !ok {
		return nil, ErrNotFound
	}
	queue := q.config.Load().queues[name]
	if queue == nil {
		return nil, ErrNotFound
	}
	return queue, nil
}

// Close ends what is done in the background, but for Work. Jobs that Redis keeps stay.
func (q *Queues) Close() error {
	for _, f := range q.closing {
		f()
	}
	return nil
}

// estimate is about how long it takes until a job is done.
func (queue *Queue) estimate(state byte, due int64, s standing) time.Duration {
	average := time.Duration(s.average) * time.Microsecond
	var wait time.Duration
	if until := max(due, s.notBefore); until > s.now {
		wait = time.Duration(until-s.now) * time.Microsecond
	}
	if state != stateWaiting || s.place == 0 {
		return wait + average
	}
	rounds := (s.place-1)/int64(queue.Concurrency) + 1
	if average > 0 && rounds > int64(longest/average) {
		return longest
	}
	return wait + time.Duration(rounds)*average
}

// untilRoom is about how long it takes until a full queue has room for a job: until one has ended.
func (queue *Queue) untilRoom(s standing) time.Duration {
	wait := time.Duration(max(0, s.notBefore-s.now)) * time.Microsecond
	return wait + time.Duration(s.average/int64(queue.Concurrency))*time.Microsecond
}
