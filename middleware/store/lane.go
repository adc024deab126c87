package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxInFlight is how many pipelines one lane has under way. More of them
	// make smaller pipelines; measured on loopback, two keep Redis busy while
	// the replies of the other are read.
	maxInFlight = 2
	// maxBatch is how many callers' commands one pipeline carries at most.
	maxBatch = 512
	// maxQueue is how many jobs wait at most. Beyond it Redis is as good as
	// away: nobody would be served within the timeout.
	maxQueue = 16384

	// Large values are few to a pipeline, and few may wait: each of them holds
	// its value.
	maxLargeBatch = 4
	maxLargeQueue = 256
)

// lane is a queue of commands for one Redis server, with its breaker.
//
// A job that comes while fewer than maxInFlight pipelines are under way leaves
// at once. Later ones wait for a pipeline to return and then leave together.
type lane struct {
	name     string
	redis    *Redis
	server   *server
	large    bool // for large values: its breaker says nothing about Redis
	maxBatch int
	maxQueue int

	mu       sync.Mutex
	queue    []*job
	inFlight int
	closed   bool

	breaker breaker
}

// job is what one caller wants sent.
type job struct {
	cmds  []redis.Cmder
	state atomic.Int32 // waiting, taken or abandoned
	done  chan struct{}
	err   error // set before done is signalled
}

const (
	waiting int32 = iota
	taken
	abandoned
)

// jobPool recycles jobs. One whose caller left early is not put back: the lane
// may still hold it.
type jobPool struct{ pool sync.Pool }

func (p *jobPool) get(cmds []redis.Cmder) *job {
	j, ok := p.pool.Get().(*job)
	if !ok {
		j = &job{done: make(chan struct{}, 1)}
	}
	j.cmds = cmds
	return j
}

func (p *jobPool) put(j *job) {
	j.cmds, j.err = nil, nil
	j.state.Store(waiting)
	p.pool.Put(j)
}

// abandon withdraws a job that has not left yet.
func (j *job) abandon() { j.state.CompareAndSwap(waiting, abandoned) }

func (l *lane) do(ctx context.Context, timer *time.Timer, cmds []redis.Cmder) error {
	j, err := l.enqueue(cmds)
	if err != nil {
		return err
	}
	return l.wait(ctx, timer, j)
}

// enqueue queues cmds, and starts a pipeline if fewer than maxInFlight are
// under way.
func (l *lane) enqueue(cmds []redis.Cmder) (*job, error) {
	if err := l.breaker.refusal(); err != nil {
		return nil, err
	}
	j := l.redis.jobs.get(cmds)

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, fmt.Errorf("%w: the connection is closed", ErrUnavailable)
	}
	if len(l.queue) >= l.maxQueue {
		return nil, fmt.Errorf("%w: %d requests are waiting for it already", ErrUnavailable, len(l.queue))
	}
	l.queue = append(l.queue, j)
	if l.inFlight < maxInFlight {
		l.inFlight++
		l.redis.workers.Go(l.drain) // Close waits for it, having closed the lane first
	}
	return j, nil
}

// wait returns when the job is done, or the caller can wait no longer.
func (l *lane) wait(ctx context.Context, timer *time.Timer, j *job) error {
	select {
	case <-j.done:
		err := j.err
		l.redis.jobs.put(j)
		return err
	case <-timer.C:
		j.abandon()
		return fmt.Errorf("%w: no answer within %v", ErrUnavailable, l.redis.timeout)
	case <-ctx.Done():
		j.abandon()
		return ctx.Err()
	}
}

// drain sends pipelines until the queue is empty.
func (l *lane) drain() {
	for {
		jobs := l.take()
		if jobs == nil {
			return
		}
		l.send(jobs)
		for _, j := range jobs {
			j.done <- struct{}{}
		}
	}
}

// take removes the next pipeline's worth of jobs from the queue. With nothing
// left it ends this drain and returns nil.
func (l *lane) take() []*job {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) > 0 {
		n := min(len(l.queue), l.maxBatch)
		batch := l.queue[:n:n]
		l.queue = l.queue[n:]
		jobs := batch[:0]
		for _, j := range batch {
			if j.state.CompareAndSwap(waiting, taken) {
				jobs = append(jobs, j)
			}
		}
		if len(jobs) > 0 {
			return jobs
		}
	}
	l.queue = nil
	l.inFlight--
	return nil
}

// send runs the jobs' commands and leaves each job's outcome in it.
func (l *lane) send(jobs []*job) {
	if err := l.breaker.refusal(); err != nil { // it opened while they waited
		for _, j := range jobs {
			j.err = err
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.redis.timeout)
	defer cancel()

	// go-redis leaves every outcome in its command, also that a connection
	// could not be had.
	pipe := l.redis.client.Pipeline()
	for _, j := range jobs {
		_ = pipe.BatchProcess(ctx, j.cmds...) // only queues
	}
	l.redis.trips.Add(1)
	_, _ = pipe.Exec(ctx)

	again := l.redis.client.Pipeline()
	for _, j := range jobs {
		for _, c := range j.cmds {
			if call, ok := c.(*Call); ok && call.unknown() {
				call.withText()
				_ = again.Process(ctx, call)
			}
		}
	}
	if again.Len() > 0 {
		l.redis.trips.Add(1)
		_, _ = again.Exec(ctx)
	}

	var failure error
	for _, j := range jobs {
		for _, c := range j.cmds {
			if err := c.Err(); err != nil && !answered(err) {
				j.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
				if !startsWith(err, moving) {
					failure = j.err
				}
				break
			}
		}
	}
	if l.breaker.record(failure) {
		l.redis.changed(l, true, failure)
		l.redis.background(l.revive)
	}
}

// revive closes the breaker once Redis serves a probe.
func (l *lane) revive(ctx context.Context) {
	pause := l.breaker.firstProbe()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = max(pause, min(2*pause, 250*time.Millisecond))
		if l.redis.lanes.probe(ctx, l) == nil {
			l.breaker.close()
			l.redis.changed(l, false, nil)
			return
		}
	}
}

func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// notServing are the first words of those error replies with which Redis says
// that it cannot serve anybody at present, or not this connection.
//
// What it refuses to one command alone is that command's answer: without
// memory for writes (OOM, MISCONF, NOREPLICAS) it still reads, so everybody
// stays logged in, and NOPERM is a matter of a key or a command.
var notServing = []string{
	"LOADING", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "BUSY",
	"NOAUTH", "WRONGPASS", "ERR max number of clients",
}

// moving are those with which a Cluster that is well says that a key is
// between two masters just now. The command did not run.
var moving = []string{"TRYAGAIN", "MOVED", "ASK"}

// answered reports whether err is Redis' answer to the command itself, rather
// than a failure to get one.
func answered(err error) bool {
	if err == redis.Nil { //nolint:errorlint // never wrapped, and by far the most frequent
		return true
	}
	var reply redis.Error
	return errors.As(err, &reply) && !startsWith(reply, notServing) && !startsWith(reply, moving) &&
		!strings.Contains(reply.Error(), "-READONLY ") // from within a script, before Redis 7
}

func startsWith(err error, words []string) bool {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return false
	}
	for _, w := range words {
		if strings.HasPrefix(reply.Error(), w) {
			return true
		}
	}
	return false
}
