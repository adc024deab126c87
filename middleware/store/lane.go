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
	// maxBatch is how many commands one pipeline carries at most.
	maxBatch = 512
	// maxQueue is how many jobs wait at most. Beyond it Redis is as good as
	// away: nobody would be served within the timeout.
	maxQueue = 16384
)

// lane is the queue of commands for one Redis server, with its breaker.
//
// A job that comes while fewer than maxInFlight pipelines are under way leaves
// at once. Later ones wait for a pipeline to return and then leave together.
type lane struct {
	name  string
	redis *Redis

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
	j := &job{cmds: cmds, done: make(chan struct{}, 1)}

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, fmt.Errorf("%w: the connection is closed", ErrUnavailable)
	}
	if len(l.queue) >= maxQueue {
		return nil, fmt.Errorf("%w: %d requests are waiting for it already", ErrUnavailable, len(l.queue))
	}
	l.queue = append(l.queue, j)
	if l.inFlight < maxInFlight {
		l.inFlight++
		go l.drain()
	}
	return j, nil
}

// wait returns when the job is done, or the caller can wait no longer.
func (l *lane) wait(ctx context.Context, timer *time.Timer, j *job) error {
	select {
	case <-j.done:
		return j.err
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
	var jobs []*job
	n := 0
	for len(l.queue) > 0 && n < maxBatch {
		j := l.queue[0]
		l.queue[0] = nil
		l.queue = l.queue[1:]
		if j.state.CompareAndSwap(waiting, taken) {
			jobs = append(jobs, j)
			n += len(j.cmds)
		}
	}
	if jobs == nil {
		l.queue = nil
		l.inFlight--
	}
	return jobs
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

	var cmds []redis.Cmder
	for _, j := range jobs {
		cmds = append(cmds, j.cmds...)
	}
	l.exec(ctx, cmds)

	var again []redis.Cmder
	for _, c := range cmds {
		if call, ok := c.(*Call); ok && call.unknown() {
			call.withText()
			again = append(again, call)
		}
	}
	if again != nil {
		l.exec(ctx, again)
	}

	var failure error
	for _, j := range jobs {
		for _, c := range j.cmds {
			if err := c.Err(); err != nil && !answered(err) {
				j.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
				failure = j.err
				break
			}
		}
	}
	if l.breaker.record(failure) {
		l.redis.changed(l.name, true, failure)
		l.redis.background(l.revive)
	}
}

// exec runs one pipeline. go-redis leaves the outcome in the commands, a
// connection that could not be had included.
func (l *lane) exec(ctx context.Context, cmds []redis.Cmder) {
	pipe := l.redis.client.Pipeline()
	for _, c := range cmds {
		_ = pipe.Process(ctx, c) // only queues
	}
	_, _ = pipe.Exec(ctx)
}

// revive closes the breaker once Redis answers a PING.
func (l *lane) revive(ctx context.Context) {
	pause := 50 * time.Millisecond
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, time.Second)
		if l.redis.lanes.ping(ctx, l) == nil {
			l.breaker.close()
			l.redis.changed(l.name, false, nil)
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
// that it cannot serve anybody at present.
var notServing = []string{
	"LOADING", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "BUSY", "TRYAGAIN", "MOVED", "ASK", "UNBLOCKED",
	"NOAUTH", "WRONGPASS", "NOPERM", "MISCONF", "NOREPLICAS", "OOM", "ERR max number of clients",
}

// answered reports whether err is Redis' answer to the command itself, rather
// than a failure to get one.
func answered(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return false
	}
	text := reply.Error()
	for _, w := range notServing {
		if strings.HasPrefix(text, w) {
			return false
		}
	}
	return true
}
