package jobs_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/jobs"
	"github.com/headgate/headgate/middleware/store"
)

// openTo returns queues of a Redis, which is waited for as long as timeout says.
func openTo(t testing.TB, url string, timeout time.Duration, queue jobs.Queue) *jobs.Queues {
	t.Helper()
	r, err := store.Open(store.Options{URL: url, Timeout: timeout, KeyPrefix: "test:"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return open(t, jobs.Options{Redis: r, Queues: one(queue)})
}

func TestWhatIsOverExpiresAndWhatWaitsDoesNot(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	q := openTo(t, s.URL, 10*time.Second, jobs.Queue{Retries: -1, Keep: time.Hour})
	spec := jobs.Spec{Body: []byte("x"), Key: "k", Owner: jobs.Owner{User: "anna"}}
	for _, status := range []int{200, 404, 500} {
		spec.Key += "k"
		take(t, q, spec)
		step(t, q, answering(jobs.Answer{Status: status, Body: []byte("answer")}))
	}
	cancelled := take(t, q, jobs.Spec{})
	if _, err := q.Cancel(t.Context(), cancelled); err != nil {
		t.Fatal(err)
	}
	if n := s.AssertEveryKeyExpires(t, "test:jobs:{q}:meta"); n < 10 {
		t.Fatalf("%d keys", n)
	}
	spec.Key = "waits"
	id := take(t, q, spec)
	for _, key := range []string{"waiting", "job:" + id, "spec:" + id} {
		if ttl := s.Client.TTL(t.Context(), "test:jobs:{q}:"+key).Val(); ttl != -1 {
			t.Errorf("%s expires in %v", key, ttl)
		}
	}
}

// TestALostReplyIsAskedAfter cuts the connection behind the command that stores a job, again and again.
func TestALostReplyIsAskedAfter(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	proxy := redistest.StartProxy(t, s.Addr)
	q := openTo(t, proxy.URL, 10*time.Second, jobs.Queue{})
	take(t, q, jobs.Spec{}) // the scripts are known from now on
	taken, refused := 1, 0
	for range 30 {
		proxy.CutAfter(1) // the reply is lost, and what replies to the next tries of this connection
		heal := time.AfterFunc(5*time.Millisecond, proxy.Heal)
		if _, err := q.Take(t.Context(), "q", jobs.Spec{URL: "/"}); err == nil {
			taken++
		} else if errors.Is(err, jobs.ErrUnavailable) {
			refused++
		} else {
			t.Fatal(err)
		}
		heal.Stop()
		proxy.Heal()
	}
	stats, err := openTo(t, s.URL, 10*time.Second, jobs.Queue{}).Stats(t.Context(), "q")
	if err != nil || stats.Queued < int64(taken) || stats.Queued > int64(taken+refused) {
		t.Fatalf("%d jobs are stored, %d were taken, of %d it is unknown; %v", stats.Queued, taken, refused, err)
	}
	if taken < 10 {
		t.Fatalf("only %d of 31 jobs were taken", taken)
	}
}

func TestAFullRedisRefusesNewJobsAndFinishesOthers(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--maxmemory", "8mb", "--maxmemory-policy", "noeviction")
	q := openTo(t, s.URL, 10*time.Second, jobs.Queue{Retries: 3})
	body := []byte(strings.Repeat("x", 100<<10))
	var ids []string
	for {
		taken, err := q.Take(t.Context(), "q", jobs.Spec{URL: "/", Body: body})
		if errors.Is(err, jobs.ErrUnavailable) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, taken.ID)
	}
	// What else Redis holds may have left no room at all.
	for s.Client.Set(t.Context(), "filler:"+time.Now().String(), body[:1000], time.Minute).Err() == nil {
	}
	for _, do := range []func(context.Context, string) error{q.Pause, q.Resume} {
		if err := do(t.Context(), "q"); err != nil {
			t.Fatal(err)
		}
	}
	if job, err := q.Cancel(t.Context(), ids[0]); err != nil || job.Status != jobs.Cancelled {
		t.Fatalf("%+v, %v", job, err)
	}
	ids = ids[1:]
	ran := 0
	step(t, q, func(ctx context.Context, job *jobs.Job, _ int) jobs.Answer {
		if ran++; ran == 1 {
			if job, err := q.Cancel(ctx, job.ID); err != nil || !job.Cancelling {
				t.Errorf("%+v, %v", job, err)
			}
		}
		if len(job.Body) != len(body) {
			t.Errorf("%d bytes of the body", len(job.Body))
		}
		return jobs.Answer{Status: 200, Body: body}
	})
	if ran != len(ids) {
		t.Fatalf("%d attempts at %d jobs", ran, len(ids))
	}
	whole := 0
	for i, id := range ids {
		if job := get(t, q, id); job.Status != jobs.Done {
			t.Fatalf("job %d: %+v", i, job)
		}
		res, err := q.Result(t.Context(), id)
		if err != nil || res.Status != 200 || !res.Truncated && len(res.Body) != len(body) {
			t.Fatalf("result %d: %d, %d bytes, truncated %v, %v", i, res.Status, len(res.Body), res.Truncated, err)
		}
		if !res.Truncated {
			whole++
		}
	}
	if whole == len(ids) {
		t.Fatal("a full Redis has taken all bodies of answers")
	}
}

// TestALostWorkersJobsRunAgain has a worker that claims and then hears nothing from Redis: its lease ends, and its late answer does not count.
func TestALostWorkersJobsRunAgain(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	proxy := redistest.StartProxy(t, s.Addr)
	queue := jobs.Queue{Concurrency: 1}
	cutOff, well := openTo(t, proxy.URL, time.Second, queue), openTo(t, s.URL, 10*time.Second, queue)
	began, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	work(t, cutOff, func(context.Context, *jobs.Job, int) jobs.Answer {
		once.Do(func() { close(began) })
		<-release
		return jobs.Answer{Status: 200, Body: []byte("late")}
	}, jobs.WorkOptions{Grace: time.Minute})
	id := take(t, well, jobs.Spec{})
	<-began
	proxy.Cut()
	cut := time.Now()
	var again atomic.Int64
	work(t, well, func(_ context.Context, job *jobs.Job, attempt int) jobs.Answer {
		again.Add(1)
		if attempt != 1 || job.Lost != 0 {
			t.Errorf("a lost worker cost an attempt: %d, %d losses", attempt, job.Lost)
		}
		return jobs.Answer{Status: 200, Body: []byte("again")}
	}, jobs.WorkOptions{Grace: time.Minute})
	if job := over(t, well, id); job.Status != jobs.Done || job.Attempts != 1 {
		t.Fatalf("%+v", job)
	}
	t.Logf("ran again after %v", time.Since(cut))
	proxy.Heal()
	close(release)
	next := take(t, well, jobs.Spec{}) // the worker that was cut off answers meanwhile
	over(t, well, next)
	if res, err := well.Result(t.Context(), id); err != nil || string(res.Body) != "again" {
		t.Fatalf("the result is %q, %v", res.Body, err)
	}
}

func TestAClockThatIsSetBackHoldsNoJobUp(t *testing.T) {
	t.Parallel()
	b := &bed{t: t, clock: newClock(), redis: redistest.Start(t)}
	q := b.open(one(jobs.Queue{Concurrency: 1}))
	first := take(t, q, jobs.Spec{})
	b.clock.add(time.Second)
	second, later := take(t, q, jobs.Spec{}), take(t, q, jobs.Spec{Delay: time.Minute})
	ctx, cancel := context.WithCancel(t.Context())
	_, _ = q.Step(ctx, func(context.Context, *jobs.Job, int) jobs.Answer { // the worker is killed while it runs the first
		q.LoseLease()
		cancel()
		return jobs.Answer{}
	})
	b.clock.add(-time.Hour)
	none := answering(jobs.Answer{Status: 200})
	if n := step(t, q, none); n != 0 || get(t, q, first).Status != jobs.Running {
		t.Fatalf("%d attempts while the lease lasts", n)
	}
	b.clock.add(11 * time.Second)
	step(t, q, none)
	for id, want := range map[string]jobs.Status{first: jobs.Done, second: jobs.Done, later: jobs.Waiting} {
		if job := get(t, q, id); job.Status != want {
			t.Errorf("%+v, want %s", job, want)
		}
	}
	b.clock.add(time.Minute)
	step(t, q, none)
	if job := get(t, q, later); job.Status != jobs.Done {
		t.Errorf("%+v", job)
	}
}

func TestQueuesInACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	r, err := store.Open(store.Options{URL: cluster.URL, Timeout: 10 * time.Second, KeyPrefix: "test:"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	queues := map[string]jobs.Queue{}
	names := []string{"a", "b", "c", "d", "e"}
	for _, name := range names {
		queues[name] = jobs.Queue{Concurrency: 2}
	}
	q := open(t, jobs.Options{Redis: r, Queues: queues})
	var ids []string
	for i := range 50 {
		taken, err := q.Take(t.Context(), names[i%len(names)], jobs.Spec{URL: "/", Owner: jobs.Owner{User: "anna"}, Key: time.Now().String()})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, taken.ID)
	}
	work(t, q, answering(jobs.Answer{Status: 200, Body: []byte("x")}), jobs.WorkOptions{Grace: time.Minute})
	for _, id := range ids {
		if job := over(t, q, id); job.Status != jobs.Done {
			t.Fatalf("%+v", job)
		}
	}
	if n, err := q.CancelOwner(t.Context(), jobs.Owner{User: "anna"}); n != 0 || err != nil {
		t.Fatal(n, err)
	}
}

func TestAJobWhoseRequestWasEvictedFails(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	q := openTo(t, s.URL, 10*time.Second, jobs.Queue{})
	id, gone := take(t, q, jobs.Spec{}), take(t, q, jobs.Spec{})
	s.Client.Del(t.Context(), "test:jobs:{q}:spec:"+id, "test:jobs:{q}:spec:"+gone, "test:jobs:{q}:job:"+gone)
	if n := step(t, q, func(context.Context, *jobs.Job, int) jobs.Answer { t.Error("it ran"); return jobs.Answer{} }); n != 1 {
		t.Fatalf("%d attempts", n)
	}
	stats, err := q.Stats(t.Context(), "q")
	if err != nil || stats.Failed != 1 || stats.Queued != 0 {
		t.Fatalf("%+v, %v", stats, err)
	}
	if dead, err := q.List(t.Context(), "q", jobs.Failed, jobs.Page{}); err != nil || len(dead) != 1 || dead[0].ID != id || dead[0].Reason == "" {
		t.Fatalf("%+v, %v", dead, err)
	}
	step(t, q, answering(jobs.Answer{Status: 200}))
	if stats, err := q.Stats(t.Context(), "q"); err != nil || stats.Bytes != 0 {
		t.Fatalf("the queue counts %d bytes of jobs that are gone, %v", stats.Bytes, err)
	}
}

func TestOneJobForAKeyThatManyUseAtOnce(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	instances := []*jobs.Queues{openTo(t, s.URL, 10*time.Second, jobs.Queue{}), openTo(t, s.URL, 10*time.Second, jobs.Queue{})}
	var made atomic.Int64
	ids := make([]string, 40)
	each(len(ids), 20, func(i int) {
		taken, err := instances[i%2].Take(t.Context(), "q", jobs.Spec{URL: "/", Key: "k"})
		if err != nil {
			t.Error(err)
		}
		if !taken.Existing {
			made.Add(1)
		}
		ids[i] = taken.ID
	})
	for _, id := range ids {
		if id != ids[0] || made.Load() != 1 {
			t.Fatalf("%d jobs were made: %v", made.Load(), ids)
		}
	}
}
