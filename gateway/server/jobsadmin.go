package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/jobs"
)

// jobsAdmin lets operators see and change queues and jobs, and apps enqueue.
type jobsAdmin struct{ server *Server }

// jobsToken is that of the policy that runs.
func (s *Server) jobsToken() string { return s.current.Load().policy.Jobs.Token }

// buildJobsListener sets up the listener on which apps enqueue, where the policy has one.
func (s *Server) buildJobsListener() {
	if s.options.Policy.Jobs.Listen != "" {
		s.jobsHTTP = admin.Serve(admin.NewEnqueue(admin.EnqueueOptions{Token: s.jobsToken, Jobs: jobsAdmin{s}}))
	}
}

// queue returns the queues, and the settings of one.
func (a jobsAdmin) queue(name string) (*jobs.Queues, jobs.Queue, error) {
	q := a.server.parts.jobs.Load()
	names := "it has none"
	if q != nil {
		if queue, ok := q.Queue(name); ok {
			return q, queue, nil
		}
		names = "the queues are " + strings.Join(q.Names(), ", ")
	}
	return nil, jobs.Queue{}, fmt.Errorf("%w: the running policy has no queue %q; %s", admin.ErrNotFound, name, names)
}

// Queues implements admin.Jobs.
func (a jobsAdmin) Queues(ctx context.Context) ([]admin.QueueState, error) {
	all := []admin.QueueState{}
	q := a.server.parts.jobs.Load()
	if q == nil {
		return all, nil
	}
	for _, name := range q.Names() {
		state, err := a.state(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, state)
	}
	return all, nil
}

func (a jobsAdmin) state(ctx context.Context, name string) (admin.QueueState, error) {
	q, queue, err := a.queue(name)
	if err != nil {
		return admin.QueueState{}, err
	}
	s, err := q.Stats(ctx, name)
	return admin.QueueState{
		Queue: name, Concurrency: queue.Concurrency, Paused: s.Paused, Queued: s.Queued, Waiting: s.Waiting, Running: s.Running,
		Done: s.Done, Failed: s.Failed, Cancelled: s.Cancelled, Oldest: s.Oldest.Seconds(), Average: s.Average.Seconds(), Slowed: s.SlowedFor.Seconds(),
		Bytes: s.Bytes, Kept: s.Kept, Most: queue.MaxBytes,
	}, jobsError(err)
}

// listed are the statuses of a list that names none, in order: what an operator looks for.
var listed = []jobs.Status{jobs.Running, jobs.Queued, jobs.Waiting, jobs.Failed}

// List implements admin.Jobs.
func (a jobsAdmin) List(ctx context.Context, name, status string, offset, limit int) (list admin.QueueJobs, err error) {
	statuses := listed
	if status != "" {
		if statuses = []jobs.Status{jobs.Status(status)}; !slices.Contains(jobs.Status("").Values(), status) {
			return list, fmt.Errorf("%w: the statuses are %s", admin.ErrBadKey, strings.Join(jobs.Status("").Values(), ", "))
		}
	} else if offset > 0 {
		return list, fmt.Errorf("%w: name a status to list jobs from an offset", admin.ErrBadKey)
	}
	if list.QueueState, err = a.state(ctx, name); err != nil {
		return list, err
	}
	if limit <= 0 || limit >= jobs.MaxPage {
		limit = 100
	}
	list.Jobs = []admin.Job{}
	for _, status := range statuses {
		left := limit - len(list.Jobs)
		some, err := a.server.parts.jobs.Load().List(ctx, name, status, jobs.Page{Offset: offset, Limit: left + 1})
		if err != nil {
			return list, jobsError(err)
		}
		if len(some) > left {
			some, list.More = some[:left], true
		}
		for i := range some {
			list.Jobs = append(list.Jobs, shownJob(&some[i]))
		}
	}
	return list, nil
}

// shownJob is a job as operators see it.
func shownJob(j *jobs.Job) admin.Job {
	shown := admin.Job{
		ID: j.ID, Queue: j.Queue, Status: string(j.Status), Method: j.Method, URL: j.URL, Host: j.Host, Upstream: j.Upstream, Route: j.Route,
		User: j.Owner.User, Client: j.Owner.Client, Schedule: j.Schedule, After: j.After, Key: j.Key,
		Attempts: j.Attempts, Lost: j.Lost, Answered: j.AppStatus, Reason: j.Reason, Place: j.Place, Estimate: j.Estimate.Seconds(),
		Created: j.Created, Due: j.Due, Started: j.Started, Finished: j.Finished, Expires: j.Expires, Cancelled: j.Cancelling, Bytes: j.Bytes,
	}
	if j.Owner.Addr.IsValid() {
		shown.Address = j.Owner.Addr.String()
	}
	return shown
}

// one does something to a job of a queue.
func (a jobsAdmin) one(queue, id string, do func(q *jobs.Queues) (jobs.Job, error)) (admin.Job, error) {
	q, _, err := a.queue(queue)
	if err != nil {
		return admin.Job{}, err
	}
	if of, ok := jobs.QueueOf(id); !ok || of != queue {
		return admin.Job{}, fmt.Errorf("%w: %q is not the ID of a job of the queue %s", admin.ErrNotFound, id, queue)
	}
	job, err := do(q)
	if err != nil {
		return admin.Job{}, jobsError(err)
	}
	return shownJob(&job), nil
}

// Show implements admin.Jobs.
func (a jobsAdmin) Show(ctx context.Context, queue, id string) (admin.Job, error) {
	return a.one(queue, id, func(q *jobs.Queues) (jobs.Job, error) { return q.Get(ctx, id) })
}

// Cancel implements admin.Jobs.
func (a jobsAdmin) Cancel(ctx context.Context, queue, id string) (admin.Job, error) {
	return a.one(queue, id, func(q *jobs.Queues) (jobs.Job, error) { return q.Cancel(ctx, id) })
}

// Retry implements admin.Jobs.
func (a jobsAdmin) Retry(ctx context.Context, queue, id string) (admin.Job, error) {
	return a.one(queue, id, func(q *jobs.Queues) (jobs.Job, error) {
		job, err := q.Retry(ctx, id)
		if errors.Is(err, jobs.ErrState) {
			err = fmt.Errorf("%w: the job is %s, and only failed jobs are retried", admin.ErrConflict, job.Status)
		}
		return job, err
	})
}

// RetryFailed implements admin.Jobs.
func (a jobsAdmin) RetryFailed(ctx context.Context, queue string) (int, error) {
	q, _, err := a.queue(queue)
	if err != nil {
		return 0, err
	}
	n, err := q.RetryFailed(ctx, queue)
	return n, jobsError(err)
}

// SetPaused implements admin.Jobs.
func (a jobsAdmin) SetPaused(ctx context.Context, queue string, paused bool, by string) (admin.QueueState, error) {
	q, _, err := a.queue(queue)
	if err != nil {
		return admin.QueueState{}, err
	}
	set, what := q.Resume, "a queue has been resumed"
	if paused {
		set, what = q.Pause, "a queue has been paused"
	}
	if err := set(ctx, queue); err != nil {
		return admin.QueueState{}, jobsError(err)
	}
	a.server.log.Info(what, "queue", queue, "by", by)
	return a.state(ctx, queue)
}

// Enqueue implements admin.Jobs.
func (a jobsAdmin) Enqueue(ctx context.Context, queue string, all []admin.NewJob) (ids []string, err error) {
	q, settings, err := a.queue(queue)
	if err != nil {
		return nil, err
	}
	specs := make([]jobs.Spec, len(all))
	for i := range all {
		if specs[i], err = a.spec(&all[i], settings); err != nil {
			if len(all) > 1 {
				err = fmt.Errorf("job %d of the list: %w", i+1, err)
			}
			return nil, err
		}
	}
	taken, err := q.TakeAll(ctx, queue, specs)
	if err != nil {
		return nil, jobsError(err)
	}
	for _, t := range taken {
		ids = append(ids, t.ID)
	}
	return ids, nil
}

// spec makes a job of what an app has written.
func (a jobsAdmin) spec(n *admin.NewJob, queue jobs.Queue) (s jobs.Spec, err error) {
	policy := a.server.current.Load().policy
	if policy.Upstreams[n.Upstream] == nil {
		return s, fmt.Errorf("%w: the policy has no upstream %q; name one of %s", admin.ErrBadKey, n.Upstream, strings.Join(slices.Sorted(maps.Keys(policy.Upstreams)), ", "))
	}
	if int64(len(n.Body)) > queue.MaxBody {
		return s, fmt.Errorf("%w: the body has %d bytes, and max_body of the queue is %d", admin.ErrTooLarge, len(n.Body), queue.MaxBody)
	}
	s = jobs.Spec{Method: n.Method, Upstream: n.Upstream, Header: n.Header, Body: n.Body, Delay: n.Delay, At: n.At, Key: n.Key}
	target := n.URL
	if scheme, rest, whole := strings.Cut(target, "://"); whole {
		authority, path, _ := strings.Cut(rest, "/")
		host, err := httpx.NormalizeHost(authority, scheme)
		if err != nil || host.Name == "" || scheme != "http" && scheme != "https" {
			return s, fmt.Errorf("%w: the url is not that of a job: %q", admin.ErrBadKey, n.URL)
		}
		s.Scheme, s.Host, target = scheme, host.Authority, "/"+path
	}
	path, query, hasQuery := strings.Cut(target, "?")
	normal, err := httpx.NormalizePath(path)
	if err != nil || !strings.HasPrefix(path, "/") || strings.ContainsAny(target, " #\t\r\n") {
		return s, fmt.Errorf("%w: url is a path and query like /tasks/mail?id=7: %q is not", admin.ErrBadKey, n.URL)
	}
	if s.URL = normal.RawPath; hasQuery {
		s.URL += "?" + query
	}
	return s, nil
}

// jobsError puts an error of the queues in the admin API's terms.
func jobsError(err error) error {
	switch {
	case errors.Is(err, jobs.ErrNotFound), errors.Is(err, jobs.ErrNoQueue):
		return fmt.Errorf("%w: %w", admin.ErrNotFound, err)
	case errors.Is(err, jobs.ErrConflict):
		return fmt.Errorf("%w: the key has been used with another job: %w", admin.ErrRefused, err)
	case errors.Is(err, jobs.ErrSpec):
		return fmt.Errorf("%w: %w", admin.ErrBadKey, err)
	case errors.Is(err, jobs.ErrFull):
		return fmt.Errorf("%w: %w", admin.ErrFull, err)
	case errors.Is(err, jobs.ErrTooLarge):
		return fmt.Errorf("%w: %w", admin.ErrTooLarge, err)
	case errors.Is(err, jobs.ErrUnavailable):
		return fmt.Errorf("%w: %w", admin.ErrAway, err)
	}
	return away(err)
}
