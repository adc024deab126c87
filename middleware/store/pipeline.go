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
	// maxInFlight is how many round trips one pipeline has under way. More of
	// them would carry fewer commands each; measured on loopback, with two of
	// them Redis works on one while this process reads the replies of the other.
	maxInFlight = 2
	// maxJobs is how many jobs one round trip carries at most.
	maxJobs = 512
	// maxQueue is how many jobs wait at most. With a longer queue none of the
	// callers would get a reply within the timeout.
	maxQueue = 16384

	// The bounds for large values are lower, because each waiting job holds its
	// value in memory.
	maxLargeJobs  = 4
	maxLargeQueue = 256
)

// pipeline is a queue of jobs for one Redis server, with its breaker.
//
// A job that comes while fewer than maxInFlight round trips are under way is
// sent at once. Later jobs wait until a round trip ends, and are then sent
// together.
type pipeline struct {
	name     string
	redis    *Redis
	server   *server
	class    class // of those other than small, Redis.Available ignores the breaker
	maxJobs  int
	maxQueue int

	mu       sync.Mutex
	queue    []*job
	inFlight int
	closed   bool

	breaker breaker
}

// job is the commands of one caller.
type job struct {
	cmds  []redis.Cmder
	state atomic.Int32 // waiting, taken or abandoned
	// replicated says that replicas must have what the commands write.
	replicated bool
	done       chan struct{}
	err        error // set before done is signalled
}

const (
	waiting int32 = iota
	taken
	abandoned
)

// jobPool recycles jobs. A job whose caller stopped waiting is not put back: the
// pipeline may still hold it.
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
	j.cmds, j.err, j.replicated = nil, nil, false
	j.state.Store(waiting)
	p.pool.Put(j)
}

// abandon withdraws a job that has not been sent yet, and reports whether it was one.
func (j *job) abandon() bool { return j.state.CompareAndSwap(waiting, abandoned) }

// abandonedBy is abandon, and the error that the job's caller is given.
func (j *job) abandonedBy(err error) error {
	if j.abandon() {
		return unsent(err)
	}
	return &lateError{err, j}
}

func (p *pipeline) do(ctx context.Context, timer *time.Timer, cmds []redis.Cmder, replicated bool) error {
	j, err := p.enqueue(cmds, replicated)
	if err != nil {
		return err
	}
	return p.wait(ctx, timer, j)
}

// refusal returns why a call is refused, or nil. Large values and writes are refused as well
// where the server does not serve checks.
func (p *pipeline) refusal() error {
	if err := p.breaker.refusal(); err != nil || p.class == small {
		return err
	}
	return p.server.small.breaker.refusal()
}

// timeout bounds a round trip.
func (p *pipeline) timeout() time.Duration {
	if p.class == write || p.class == replicated {
		return p.redis.writeTimeout
	}
	return p.redis.timeout
}

// enqueue queues cmds, and starts a round trip if fewer than maxInFlight are
// under way.
func (p *pipeline) enqueue(cmds []redis.Cmder, replicated bool) (*job, error) {
	if err := p.refusal(); err != nil {
		return nil, unsent(err)
	}
	j := p.redis.jobs.get(cmds)
	j.replicated = replicated

	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, unsent(fmt.Errorf("%w: the connection is closed", ErrUnavailable))
	}
	if len(p.queue) >= p.maxQueue {
		return nil, unsent(fmt.Errorf("%w: %d requests are waiting for it already", ErrUnavailable, len(p.queue)))
	}
	p.queue = append(p.queue, j)
	if p.inFlight < maxInFlight {
		p.inFlight++
		p.redis.workers.Go(p.drain) // Redis.Close first closes the pipeline and then waits for drain
	}
	return j, nil
}

// wait returns when the job is done, its timer fires, or ctx ends.
func (p *pipeline) wait(ctx context.Context, timer *time.Timer, j *job) error {
	select {
	case <-j.done:
		err := j.err
		p.redis.jobs.put(j)
		return err
	case <-timer.C:
		return j.abandonedBy(fmt.Errorf("%w: no answer within %v", ErrUnavailable, p.timeout()))
	case <-ctx.Done():
		return j.abandonedBy(ctx.Err())
	}
}

// drain makes one round trip after another until the queue is empty.
func (p *pipeline) drain() {
	for {
		jobs := p.take()
		if jobs == nil {
			return
		}
		p.send(jobs)
		for _, j := range jobs {
			j.done <- struct{}{}
		}
	}
}

// take removes the jobs of the next round trip from the queue. It returns nil
// when the queue is empty, and drain then ends.
func (p *pipeline) take() []*job {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) > 0 {
		n := min(len(p.queue), p.maxJobs)
		batch := p.queue[:n:n]
		p.queue = p.queue[n:]
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
	p.queue = nil
	p.inFlight--
	return nil
}

// send runs the jobs' commands and sets each job's err.
func (p *pipeline) send(jobs []*job) {
	if err := p.refusal(); err != nil { // the breaker opened while the jobs waited
		for _, j := range jobs {
			j.err = unsent(err)
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout())
	defer cancel()

	// Each command has its own error, also where go-redis gets no connection: see
	// unanswered. So Exec's own error is not needed.
	pipe, again, replicas := p.pipes(ctx, jobs)
	for _, j := range jobs {
		_ = pipe.BatchProcess(ctx, j.cmds...) // only queues; Exec sends
	}
	replicas.wait(ctx, pipe)
	p.redis.roundTrips.Add(1)
	_, _ = pipe.Exec(ctx)

	for _, j := range jobs {
		for _, c := range j.cmds {
			if call, ok := c.(*Call); ok && call.unknown() {
				call.withText()
				_ = again.Process(ctx, call)
			}
		}
	}
	if again.Len() > 0 {
		replicas.wait(ctx, again)
		p.redis.roundTrips.Add(1)
		_, _ = again.Exec(ctx)
	}

	var failure, refused error
	for _, j := range jobs {
		for _, c := range j.cmds {
			err := c.Err()
			if err == nil {
				continue
			}
			if !replied(err) {
				j.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
				if !startsWith(err, moving) {
					failure = j.err
				}
				break
			}
			switch {
			case err == redis.Nil: //nolint:errorlint // never wrapped, and by far the most frequent
			case refusal(err):
				refused = err
			case startsWith(err, []string{"NOPERM"}):
				p.redis.denied(c, err)
			}
		}
	}
	if refused != nil {
		p.redis.refused(p, refused)
	}
	replicas.fail(jobs)
	p.note(p.breaker.record(failure), failure)
}

// note begins to probe the server if its breaker has opened.
func (p *pipeline) note(opened bool, cause error) {
	if opened {
		p.redis.changed(p, true, cause)
		p.redis.background(p.revive)
	}
}

// revive closes the breaker once Redis serves a probe. A server gets one probe at a time: its
// other pipelines wait for that of the checks.
func (p *pipeline) revive(ctx context.Context) {
	pause := p.breaker.firstProbe()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(jittered(pause)):
		}
		pause = max(pause, min(2*pause, 250*time.Millisecond))
		if p.class != small && p.server.small.breaker.refusal() != nil {
			continue
		}
		err := p.redis.pipelines.probe(ctx, p)
		if err == nil {
			p.breaker.close()
			p.redis.changed(p, false, nil)
			return
		}
		if said(err) && p.breaker.explain(fmt.Errorf("%w: %w", ErrUnavailable, err)) {
			if away := p.redis.away.Load(); away != nil && p.class == small {
				p.redis.away.CompareAndSwap(away, &Trouble{Since: away.Since, Err: err})
			}
			p.redis.log.Warn("redis says why it is unavailable", "server", p.name, "error", err)
		}
	}
}

func (p *pipeline) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
}

// notServing are the first words of the error replies with which Redis says
// that it serves no commands at present, or none on this connection.
//
// An error that concerns one command alone is that command's reply and not in
// this list: a Redis without memory for writes (OOM, MISCONF, NOREPLICAS) still
// reads sessions, and NOPERM concerns a key or a command.
var notServing = []string{
	"LOADING", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "BUSY",
	"NOAUTH", "WRONGPASS", "DENIED", "EXECABORT", "ERR AUTH",
	"ERR Protocol error", // to long commands of those who did not authenticate; then Redis closes the connection
	"ERR invalid DB index", "ERR DB index is out of range", "ERR max number of clients",
}

// moving are the first words of the error replies with which a healthy Cluster
// says that it is moving a key from one master to another. The command did not
// run.
var moving = []string{"TRYAGAIN", "MOVED", "ASK"}

// replied reports whether err is Redis' reply to the command itself, rather
// than a failure to get a reply.
func replied(err error) bool {
	if err == redis.Nil { //nolint:errorlint // never wrapped, and by far the most frequent
		return true
	}
	var reply redis.Error
	return errors.As(err, &reply) && !startsWith(reply, notServing) && !startsWith(reply, moving) &&
		!strings.Contains(reply.Error(), "-READONLY ") // from within a script, before Redis 7
}

// said reports whether err has words of Redis, which say more than that a connection has ended.
func said(err error) bool {
	var setup *setupError
	var reply redis.Error
	return errors.As(err, &setup) || errors.As(err, &reply)
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
