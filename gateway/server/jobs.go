package server

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/headgate/headgate/gateway/observe"
	"github.com/headgate/headgate/middleware/jobs"
	"github.com/headgate/headgate/policies"
)

// openJobs opens the queues with the first policy that has some.
func (s *Server) openJobs(p *policies.Policy) error {
	if s.parts.jobs.Load() != nil {
		return nil
	}
	metrics := observe.NewJobMetrics()
	q, err := s.newQueues(p, metrics)
	if err != nil {
		return err
	}
	metrics.Register(s.metrics.Registry, s.queueStats)
	s.parts.jobs.Store(q)
	return nil
}

// newQueues returns the queues: in Redis where there is one, or else in memory.
func (s *Server) newQueues(p *policies.Policy, observer jobs.Observer) (*jobs.Queues, error) {
	o := jobs.Options{Now: s.options.Now, Logger: s.log, Observer: observer}
	o.Queues, o.Schedules = queuesOf(p)
	switch {
	case s.parts.redis != nil:
		redis, err := s.parts.redis.Jobs()
		if err != nil {
			return nil, err
		}
		o.Redis = redis
		s.metrics.WatchJobsRedis(s.parts.redis)
		s.watchJobsEviction(redis)
	case s.parts.shared:
		return s.options.Shared.jobs, nil
	default:
		s.log.Warn("there is no Redis: jobs are in this process' memory, and gone with it")
	}
	q, err := jobs.New(o)
	if err == nil {
		s.teardown.push(func() { q.Close() })
	}
	return q, err
}

// queuesOf returns a policy's queues and schedules as the queues take them.
func queuesOf(p *policies.Policy) (map[string]jobs.Queue, map[string]jobs.Schedule) {
	queues, schedules := map[string]jobs.Queue{}, map[string]jobs.Schedule{}
	for name, q := range p.Queues {
		queues[name] = *q
	}
	for name, s := range p.Schedules {
		schedules[name] = *s
	}
	return queues, schedules
}

// configureJobs has the queues go by a policy that begins to run. The jobs of a queue that it does not have any more stay stored.
func (s *Server) configureJobs(p *policies.Policy) {
	q := s.parts.jobs.Load()
	if q == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeWait)
	defer cancel()
	for _, name := range q.Names() {
		if p.Queues[name] != nil {
			continue
		}
		if stats, err := q.Stats(ctx, name); err == nil && stats.Queued+stats.Waiting+stats.Running > 0 {
			s.log.Warn("the policy has a queue no longer that has jobs left; they stay until a queue has that name again",
				"queue", name, "queued", stats.Queued, "waiting", stats.Waiting, "running", stats.Running)
		}
	}
	if err := q.Configure(queuesOf(p)); err != nil { // impossible: the policy was checked
		s.log.Error("the queues stay as they were", "error", err)
	}
}

// scrapeWait bounds how long a reload waits for Redis to say whether a queue that is gone has jobs.
const scrapeWait = time.Second

// queueStats are the numbers of all queues, as far as they can be had.
func (s *Server) queueStats(ctx context.Context) (all []jobs.Stats) {
	q := s.parts.jobs.Load()
	for _, name := range q.Names() {
		stats, err := q.Stats(ctx, name)
		if err != nil {
			return all
		}
		all = append(all, stats)
	}
	return all
}

// worker does jobs in this instance.
type worker struct {
	stop      context.CancelFunc // it takes no more jobs
	once      sync.Once
	interrupt chan struct{} // closed: those that run go back at once
	ended     chan struct{}
}

// interruptAll has the jobs that run go back at once.
func (w *worker) interruptAll() { w.once.Do(func() { close(w.interrupt) }) }

// end waits until the jobs that run have ended, or have gone back as ctx has ended.
func (w *worker) end(ctx context.Context) {
	select {
	case <-w.ended:
	case <-ctx.Done():
		w.interruptAll()
		<-w.ended
	}
}

// keepWorking begins or ends work, as the policy that runs says. s.mu is held.
func (s *Server) keepWorking(p *policies.Policy) {
	wanted := s.working && len(p.Queues) > 0 && (p.Jobs.Work || s.options.Work)
	switch {
	case wanted && s.worker == nil:
		ctx, stop := context.WithCancel(context.Background())
		w := &worker{stop: stop, interrupt: make(chan struct{}), ended: make(chan struct{})}
		s.worker = w
		go func() {
			defer close(w.ended)
			s.parts.jobs.Load().Work(ctx, s.doJob, jobs.WorkOptions{Grace: longestGrace, Interrupt: w.interrupt})
		}()
	case !wanted && s.worker != nil:
		s.worker.stop()
		time.AfterFunc(p.Server.ShutdownGrace, s.worker.interruptAll)
		s.retired = append(s.retired, s.worker)
		s.worker = nil
	}
}

// longestGrace is longer than any: when the jobs that run must end, worker.interrupt says.
const longestGrace = 365 * 24 * time.Hour

// doJob makes one attempt at a job, by the policy that runs then.
func (s *Server) doJob(ctx context.Context, job *jobs.Job, attempt int) jobs.Answer {
	return s.current.Load().Work(ctx, job, attempt)
}

// RunJobs enqueues the jobs of schedules that are due and does all jobs that are, one after the other, until none is. It returns how many
// attempts that were. It is for tests, on a Server that was not started.
func (s *Server) RunJobs(ctx context.Context) (attempts int, err error) {
	q := s.parts.jobs.Load()
	if q == nil {
		return 0, nil
	}
	if _, err := q.Plan(ctx); err != nil {
		return 0, err
	}
	return q.Step(ctx, s.doJob)
}

// Jobs are the queues; nil where no policy has had any.
func (s *Server) Jobs() *jobs.Queues { return s.parts.jobs.Load() }

// stopWork has the worker take no more jobs. wait returns when those that run have ended, or have gone back as ctx has ended. s.mu is held.
func (s *Server) stopWork() (wait func(ctx context.Context)) {
	all := s.retired
	if s.worker != nil {
		s.worker.stop()
		all = append(all, s.worker)
	}
	s.working, s.worker, s.retired = false, nil, nil
	return func(ctx context.Context) {
		for _, w := range all {
			w.end(ctx)
		}
	}
}

// cancelJobsOf cancels the jobs of a user whose sessions have been ended at all hosts.
func (s *Server) cancelJobsOf(ctx context.Context, user string) error {
	q := s.parts.jobs.Load()
	if q == nil {
		return nil
	}
	if _, err := q.CancelOwner(ctx, jobs.Owner{User: user}); err != nil {
		return fmt.Errorf("the sessions have ended, but the user's jobs may not all be cancelled: %w", jobsError(err))
	}
	return nil
}
