package jobs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Runner makes one attempt at a job: it sends the request to an app server and returns how that ended. Attempt is 1 for the
// first. It returns soon after ctx has ended, which happens after the queue's timeout, when the job is cancelled, or when the worker must stop.
type Runner func(ctx context.Context, job *Job, attempt int) Answer

// WorkOptions says how [Queues.Work] works.
type WorkOptions struct {
	// Grace is how long jobs that run may go on when Work's context has ended; then they are interrupted and go back to their
	// queues at once. Default 0: they are interrupted at once.
	Grace time.Duration
	// Interrupt, when it is closed, ends the grace before its time. Nil: nothing does.
	Interrupt <-chan struct{}
}

const (
	// A worker holds a job by a lease, and renews it while the job runs. The jobs of a worker that was killed run again
	// when its leases end and another worker looks: within leaseFor + idleMost.
	leaseFor   = 10 * time.Second
	renewEvery = 3 * time.Second
	// How often a worker looks for jobs that no message told it of: idleFirst after it had one, idleMost after a while without.
	idleFirst = 100 * time.Millisecond
	idleMost  = 2 * time.Second
	// claimedAtOnce is how many jobs a worker takes of one queue before it looks at all of them again.
	claimedAtOnce = 8
	// inlineBody is how much of a job's body travels with a claim. The rest is fetched when the job begins.
	inlineBody = 16 << 10
	// finishFor is how long a worker tries to store what became of a job while Redis is away. After that the job runs again.
	finishFor = 2 * time.Minute
	// stopFor is how long it still tries when it must stop.
	stopFor = 3 * time.Second
)

var (
	errCancelled = errors.New("the job was cancelled")
	errLost      = errors.New("the job's lease has ended")
	errStopping  = errors.New("the worker stops")
)

// worker runs jobs in this instance.
type worker struct {
	*Queues
	runner Runner
	runs   context.Context // of the attempts: it ends when the grace is over
	most   int             // how many jobs one claim takes
	work   sync.WaitGroup

	mu      sync.Mutex
	running map[lease]*run
	count   map[string]int // of running, by queue
	undo    map[string]string
	freed   chan struct{} // signalled when a job has ended
}

// run is one attempt under way.
type run struct {
	queue  string
	cancel context.CancelCauseFunc
}

func (q *Queues) newWorker(runs context.Context, r Runner) *worker {
	return &worker{
		Queues: q, runner: r, runs: runs, most: claimedAtOnce, running: make(map[lease]*run), count: make(map[string]int), undo: make(map[string]string),
		freed: make(chan struct{}, 1),
	}
}

// Work runs jobs of all queues, and enqueues those of schedules, until ctx ends and the jobs that run have ended or gone back. Several
// instances, and several calls of one, share the work: a queue's concurrency holds over all of them.
func (q *Queues) Work(ctx context.Context, r Runner, o WorkOptions) {
	runs, interrupt := context.WithCancelCause(context.WithoutCancel(ctx))
	defer interrupt(nil)
	w := q.newWorker(runs, r)

	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var helpers sync.WaitGroup
	helpers.Go(func() { w.renewAll(background) })
	helpers.Go(func() { q.enqueueScheduled(ctx) })
	w.claimAll(ctx)

	ended := make(chan struct{})
	go func() { w.work.Wait(); close(ended) }()
	grace := time.NewTimer(o.Grace)
	defer grace.Stop()
	select {
	case <-ended:
	case <-grace.C:
	case <-o.Interrupt:
	}
	interrupt(errStopping)
	<-ended
	stop()
	helpers.Wait()
}

// claimAll takes jobs and begins them until ctx ends.
func (w *worker) claimAll(ctx context.Context) {
	idle := idleFirst
	for ctx.Err() == nil {
		woken := w.hub.woken() // before it looks, so that no message falls in between
		begun, next := w.claimRound(ctx)
		if begun > 0 {
			idle = idleFirst
			continue
		}
		pause := jittered(idle)
		if next >= 0 {
			pause = min(pause, max(next, time.Millisecond))
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
			idle = min(2*idle, idleMost)
		case <-woken:
			idle = idleFirst
		case <-w.freed:
		}
		timer.Stop()
	}
}

// claimRound asks all queues for a few jobs each, in one round trip, and begins them. It returns how many they were, and when a queue
// may have more; -1: that is not known. No queue waits for another one: each has places of its own.
func (w *worker) claimRound(ctx context.Context) (begun int, next time.Duration) {
	c := w.config.Load()
	replies := make([]claimed, len(c.names))
	var all sync.WaitGroup
	for i, name := range c.names {
		all.Go(func() { replies[i] = w.claimAndBegin(ctx, c.queues[name]) })
	}
	all.Wait()
	next = -1
	for _, reply := range replies {
		begun += len(reply.jobs)
		if after := time.Duration(reply.next) * time.Microsecond; reply.next >= 0 && (next < 0 || after < next) {
			next = after
		}
	}
	return begun, next
}

// claimAndBegin asks a queue for jobs and begins them.
func (w *worker) claimAndBegin(ctx context.Context, queue *Queue) claimed {
	reply, err := w.claim(ctx, queue)
	if err != nil {
		w.log.LogAttrs(ctx, slog.LevelDebug, "no jobs can be claimed", slog.String("queue", queue.Name), slog.Any("error", err))
		return claimed{next: -1}
	}
	for _, job := range reply.jobs {
		w.begin(queue, job)
	}
	return reply
}

// claim asks a queue for jobs, as many as this worker may run.
func (w *worker) claim(ctx context.Context, queue *Queue) (claimed, error) {
	w.mu.Lock()
	most := min(queue.Concurrency-w.count[queue.Name], w.most)
	undo := w.undo[queue.Name]
	w.mu.Unlock()
	if most <= 0 {
		return claimed{next: -1}, nil
	}
	c := &claiming{
		queue: queue.Name, most: most, concurrency: queue.Concurrency, lease: micros(leaseFor), maxAge: micros(queue.MaxAge), keep: micros(queue.Keep),
		inline: inlineBody, token: newToken(), undo: undo,
	}
	reply, err := w.backend.claim(context.WithoutCancel(ctx), c)
	w.mu.Lock()
	if err != nil { // Redis may have done it all the same
		w.undo[queue.Name] = c.token
	} else {
		delete(w.undo, queue.Name)
	}
	w.mu.Unlock()
	if err != nil {
		return claimed{}, err
	}
	for _, id := range reply.expired {
		w.observer.Expired(queue.Name, id)
	}
	if reply.lost > 0 {
		w.observer.LeasesEnded(queue.Name, reply.lost)
	}
	return reply, nil
}

func newToken() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// begin runs a job in a goroutine of its own.
func (w *worker) begin(queue *Queue, c *claim) {
	ctx, cancel := context.WithCancelCause(w.runs)
	l := lease{c.id, c.token}
	w.mu.Lock()
	w.running[l] = &run{queue.Name, cancel}
	w.count[queue.Name]++
	w.mu.Unlock()
	w.work.Go(func() {
		defer cancel(nil)
		w.attempt(ctx, queue, c)
		w.mu.Lock()
		delete(w.running, l)
		w.count[queue.Name]--
		w.mu.Unlock()
		select {
		case w.freed <- struct{}{}:
		default:
		}
	})
}

// renewAll renews the leases of what runs until ctx ends, and interrupts what was cancelled and what another worker has by now.
func (w *worker) renewAll(ctx context.Context) {
	pause := renewEvery
	for {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		pause = renewEvery
		for queue, leases := range w.held() {
			if err := w.renew(ctx, queue, leases); err != nil {
				pause = renewEvery / 6
			}
		}
	}
}

// held returns the leases of this worker by queue.
func (w *worker) held() map[string][]lease {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make(map[string][]lease)
	for l, r := range w.running {
		all[r.queue] = append(all[r.queue], l)
	}
	return all
}

func (w *worker) renew(ctx context.Context, queue string, leases []lease) error {
	reply, err := w.backend.renew(ctx, queue, micros(leaseFor), leases)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, l := range leases {
		r := w.running[l]
		switch {
		case r == nil || reply[i] == leaseHeld:
		case reply[i] == leaseStopped:
			r.cancel(errCancelled)
		default:
			r.cancel(errLost)
		}
	}
	return nil
}
