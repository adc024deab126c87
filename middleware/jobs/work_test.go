package jobs_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/jobs"
)

// work has queues work until the test ends, or stop is called, which returns when the work has ended.
func work(t testing.TB, q *jobs.Queues, r jobs.Runner, o jobs.WorkOptions) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		q.Work(ctx, r, o)
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

// over waits until a job is over.
func over(t testing.TB, q *jobs.Queues, id string) jobs.Job {
	t.Helper()
	for {
		job, err := q.Wait(t.Context(), id, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if job.Status.Over() {
			return job
		}
	}
}

func TestTheConcurrencyHoldsOverAllWorkers(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *bed) {
		b.live()
		instances := b.fleet(2, one(jobs.Queue{Concurrency: 3}), nil)
		var now, most, ran atomic.Int64
		all := make(chan struct{})
		var begun atomic.Int64
		var three sync.WaitGroup
		three.Add(3)
		runner := func(context.Context, *jobs.Job, int) jobs.Answer {
			n := now.Add(1)
			if begun.Add(1) <= 3 { // all places are used: these wait for each other
				three.Done()
				three.Wait()
			}
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(2 * time.Millisecond) // what the job takes
			now.Add(-1)
			if ran.Add(1) == 100 {
				close(all)
			}
			return jobs.Answer{Status: 200}
		}
		for range 100 {
			take(t, instances[0], jobs.Spec{})
		}
		for _, q := range instances {
			work(t, q, runner, jobs.WorkOptions{Grace: time.Minute})
		}
		<-all
		if most.Load() != 3 {
			t.Fatalf("%d jobs ran at once", most.Load())
		}
	})
}

func TestAWorkerThatEndsGivesItsJobsBack(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *bed) {
		b.live()
		q := b.fleet(1, one(jobs.Queue{Concurrency: 2}), nil)[0]
		short, long := take(t, q, jobs.Spec{URL: "/short"}), take(t, q, jobs.Spec{URL: "/long"})
		var began sync.WaitGroup
		began.Add(2)
		finish, interrupt := make(chan struct{}), make(chan struct{})
		stop := work(t, q, func(ctx context.Context, job *jobs.Job, _ int) jobs.Answer {
			began.Done()
			if job.URL == "/short" {
				<-finish
				return jobs.Answer{Status: 200}
			}
			<-ctx.Done()
			return jobs.Answer{Sent: true}
		}, jobs.WorkOptions{Grace: time.Hour, Interrupt: interrupt})
		began.Wait()
		close(finish)
		over(t, q, short)
		close(interrupt)
		stop()
		if job := get(t, q, short); job.Status != jobs.Done {
			t.Fatalf("a job that ended within the grace: %+v", job)
		}
		if job := get(t, q, long); job.Status != jobs.Queued || job.Attempts != 0 || job.Lost != 0 {
			t.Fatalf("a job that was interrupted: %+v", job)
		}
	})
}

func TestACancelledJobIsInterrupted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *bed) {
		b.live()
		q := b.fleet(1, one(jobs.Queue{}), nil)[0]
		began := make(chan struct{})
		work(t, q, func(ctx context.Context, _ *jobs.Job, _ int) jobs.Answer {
			close(began)
			<-ctx.Done()
			return jobs.Answer{Sent: true}
		}, jobs.WorkOptions{Grace: time.Minute})
		id := take(t, q, jobs.Spec{})
		<-began
		if _, err := q.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if job := over(t, q, id); job.Status != jobs.Cancelled || job.Attempts != 0 {
			t.Fatalf("%+v", job)
		}
	})
}

func TestAnAttemptEndsAtTheTimeout(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *bed) {
		b.live()
		q := b.fleet(1, one(jobs.Queue{Timeout: 10 * time.Millisecond, Retries: -1}), nil)[0]
		work(t, q, func(ctx context.Context, _ *jobs.Job, _ int) jobs.Answer {
			<-ctx.Done()
			return jobs.Answer{Sent: true, Reason: "no answer within 10ms"}
		}, jobs.WorkOptions{})
		if job := over(t, q, take(t, q, jobs.Spec{})); job.Status != jobs.Failed || job.Attempts != 1 {
			t.Fatalf("%+v", job)
		}
	})
}

func TestARunnerThatPanicsHasMadeAnAttempt(t *testing.T) {
	t.Parallel()
	q := open(t, jobs.Options{Queues: one(jobs.Queue{Retries: -1})})
	work(t, q, func(context.Context, *jobs.Job, int) jobs.Answer { panic("no") }, jobs.WorkOptions{})
	if job := over(t, q, take(t, q, jobs.Spec{})); job.Status != jobs.Failed || job.Attempts != 1 {
		t.Fatalf("%+v", job)
	}
}

func TestQueuesChangeWhileJobsRun(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *bed) {
		b.live()
		q := b.fleet(1, one(jobs.Queue{Concurrency: 1}), nil)[0]
		var now atomic.Int64
		both, release := make(chan struct{}), make(chan struct{})
		work(t, q, func(context.Context, *jobs.Job, int) jobs.Answer {
			if now.Add(1) == 2 {
				close(both)
			}
			<-release
			return jobs.Answer{Status: 500}
		}, jobs.WorkOptions{Grace: time.Minute})
		first, second := take(t, q, jobs.Spec{}), take(t, q, jobs.Spec{})
		if err := q.Configure(one(jobs.Queue{Concurrency: 2, Retries: -1}), nil); err != nil {
			t.Fatal(err)
		}
		<-both
		close(release)
		for _, id := range []string{first, second} {
			if job := over(t, q, id); job.Status != jobs.Failed {
				t.Fatalf("%+v", job)
			}
		}
	})
}

// TestJobsOfAClaimThatWasNotAnsweredGoBack has a clock that stands still, so that no lease ends by itself.
func TestJobsOfAClaimThatWasNotAnsweredGoBack(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *bed) {
		q := b.open(one(jobs.Queue{Concurrency: 1}))
		id := take(t, q, jobs.Spec{})
		q.LoseClaim()
		work(t, q, answering(jobs.Answer{Status: 200}), jobs.WorkOptions{Grace: time.Minute})
		if job := over(t, q, id); job.Status != jobs.Done || job.Attempts != 1 {
			t.Fatalf("%+v", job)
		}
	})
}
