package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/jobs"
	"github.com/headgate/headgate/middleware/store"
)

// With these variables the test binary is a worker: of the queues of a Redis, for an app.
const (
	asWorker        = "HEADGATE_TEST_JOBS_WORKER"
	workersApp      = "HEADGATE_TEST_JOBS_APP"
	workersReplicas = "HEADGATE_TEST_JOBS_REPLICAS"
)

const fleetConcurrency = 16

func fleetQueue() jobs.Queue {
	return jobs.Queue{Concurrency: fleetConcurrency, Retries: 3, Backoff: jobs.Backoff{First: 100 * time.Millisecond, Most: time.Second}}
}

// fleetStore is how the fleet connects to Redis.
func fleetStore(url string, replicas int) store.Options {
	return store.Options{URL: url, Timeout: time.Second, WriteTimeout: 4 * time.Second, WaitReplicas: replicas, KeyPrefix: "test:"}
}

// workUntilKilled is what a worker's process does.
func workUntilKilled(url, app, replicas string) {
	r, err := store.Open(fleetStore(url, len(replicas)))
	if err != nil {
		panic(err)
	}
	q, err := jobs.New(jobs.Options{Redis: r, Queues: one(fleetQueue())})
	if err != nil {
		panic(err)
	}
	q.Work(context.Background(), func(ctx context.Context, job *jobs.Job, attempt int) jobs.Answer {
		req, err := http.NewRequestWithContext(ctx, job.Method, app+job.URL, strings.NewReader(string(job.Body)))
		if err != nil {
			return jobs.Answer{Reason: err.Error()}
		}
		req.Header.Set("Headgate-Job", job.ID)
		req.Header.Set("Worker", fmt.Sprint(os.Getpid()))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return jobs.Answer{Reason: err.Error(), Sent: true}
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return jobs.Answer{Reason: err.Error(), Sent: true}
		}
		return jobs.Answer{Status: res.StatusCode, Header: res.Header, Body: body}
	}, jobs.WorkOptions{})
}

// effects is an app that notes what it was asked to do.
type effects struct {
	mu       sync.Mutex
	begun    map[string][]time.Time          // by job
	running  map[string]map[string]time.Time // by worker: its jobs, and since when
	now, max int
}

func newEffects(t *testing.T) (*effects, string) {
	e := &effects{begun: map[string][]time.Time{}, running: map[string]map[string]time.Time{}}
	s := httptest.NewServer(e)
	t.Cleanup(s.Close)
	return e, s.URL
}

func (e *effects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, worker := r.Header.Get("Headgate-Job"), r.Header.Get("Worker")
	e.mu.Lock()
	e.begun[id] = append(e.begun[id], time.Now())
	if e.running[worker] == nil {
		e.running[worker] = map[string]time.Time{}
	}
	e.running[worker][id] = time.Now()
	e.now++
	e.max = max(e.max, e.now)
	e.mu.Unlock()
	time.Sleep(40 * time.Millisecond) // what the job takes
	e.mu.Lock()
	delete(e.running[worker], id)
	e.now--
	e.mu.Unlock()
	fmt.Fprint(w, "did "+id)
}

// fleet is worker processes.
type fleet struct {
	t       *testing.T
	env     []string
	app     *effects
	workers []*exec.Cmd
}

// fleetOf starts n workers of a Redis for an app; so many replicas must have what they store.
func fleetOf(t *testing.T, n int, url string, replicas int, e *effects, app string) *fleet {
	f := &fleet{t: t, app: e, env: append(os.Environ(), asWorker+"="+url, workersApp+"="+app, workersReplicas+"="+strings.Repeat("1", replicas))}
	for range n {
		f.workers = append(f.workers, f.start())
	}
	t.Cleanup(func() {
		for _, cmd := range f.workers {
			end(cmd)
		}
	})
	return f
}

func (f *fleet) start() *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = f.env, os.Stderr
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	return cmd
}

// end ends a worker by signal 9.
func end(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// kill kills one of the workers and starts another one in its place. It notes in killed the jobs that it was at, and when.
func (f *fleet) kill(killed map[string]time.Time) {
	i := rand.IntN(len(f.workers))
	worker := fmt.Sprint(f.workers[i].Process.Pid)
	end(f.workers[i])
	f.app.mu.Lock()
	for id := range f.app.running[worker] {
		killed[id] = time.Now()
	}
	f.app.mu.Unlock()
	f.workers[i] = f.start()
}

// takeSurely takes a job, and asks again while Redis is away.
func takeSurely(t *testing.T, q *jobs.Queues, key string) string {
	for {
		taken, err := q.Take(t.Context(), "q", jobs.Spec{URL: "/do", Body: []byte(key), Key: key, Owner: jobs.Owner{Client: "test"}})
		if err == nil {
			return taken.ID
		}
		if !errors.Is(err, jobs.ErrUnavailable) {
			t.Error(err)
			return ""
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// overSurely waits until a job is over, also while Redis is away.
func overSurely(t *testing.T, q *jobs.Queues, id string) (jobs.Job, jobs.Result) {
	for {
		job, err := q.Wait(t.Context(), id, time.Minute)
		if err == nil && job.Status.Over() {
			res, err := q.Result(t.Context(), id)
			if err == nil {
				return job, res
			}
		}
		if errors.Is(err, jobs.ErrNotFound) {
			t.Fatalf("job %s is lost", id)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestJobsSurviveKilledWorkersAndRestartsOfRedis has 1,000 jobs done while five workers are killed by signal 9 and Redis, whose every write is on disk before it
// replies, is restarted once and killed once.
func TestJobsSurviveKilledWorkersAndRestartsOfRedis(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes a quarter of a minute")
	}
	s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	max := survive(t, s.URL, 0, func(i int) {
		switch i {
		case 1:
			s.Restart()
		case 3:
			s.Kill()
			s.Restart()
		}
	})
	if max > fleetConcurrency {
		t.Errorf("%d jobs ran at once, want %d at most", max, fleetConcurrency)
	}
}

// TestJobsSurviveAFailover is the same with a master that is killed, whose replica has what was confirmed. Leases are not waited for, so that a few jobs may run
// while the old master's workers are still at them.
func TestJobsSurviveAFailover(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	w := redistest.StartSentinel(t)
	survive(t, w.URL, 1, func(i int) {
		if i != 2 {
			return
		}
		w.Master.Kill()
		for w.Current(t) == w.Master {
			time.Sleep(20 * time.Millisecond)
		}
		w.Master.Restart() // as the new master's replica: without one nothing is confirmed
	})
}

// survive has 1,000 jobs taken and done while five workers are killed, and disturb is called after each. It returns how many ran at once at most.
func survive(t *testing.T, url string, replicas int, disturb func(i int)) (most int) {
	e, app := newEffects(t)
	r, err := store.Open(fleetStore(url, replicas))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	q := open(t, jobs.Options{Redis: r, Queues: one(fleetQueue())})
	f := fleetOf(t, 4, url, replicas, e, app)

	const n = 1000
	ids := make([]string, n)
	some, took := make(chan struct{}), make(chan struct{})
	var once sync.Once
	go func() {
		defer close(took)
		each(n, 8, func(i int) {
			ids[i] = takeSurely(t, q, fmt.Sprint("job ", i))
			if i > n/8 {
				once.Do(func() { close(some) })
			}
		})
	}()
	<-some
	killed := map[string]time.Time{}
	for i := range 5 {
		f.kill(killed)
		disturb(i)
		awaitEffects(e, (i+1)*n/8)
	}
	<-took

	for i, id := range ids {
		job, res := overSurely(t, q, id)
		if job.Status != jobs.Done || job.Attempts != 1 || string(res.Body) != "did "+id {
			t.Fatalf("job %d: %+v, result %q", i, job, res.Body)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.check(t, ids, killed)
	return e.max
}

// check fails the test where an effect is missing, or a killed worker's job came back late. e.mu is held.
func (e *effects) check(t *testing.T, ids []string, killed map[string]time.Time) {
	twice, slowest := 0, time.Duration(0)
	for _, id := range ids {
		begun := e.begun[id]
		twice += len(begun) - 1
		if at, ok := killed[id]; ok && len(begun) > 1 {
			slowest = max(slowest, begun[len(begun)-1].Sub(at))
		}
	}
	if len(e.begun) != len(ids) {
		t.Errorf("%d jobs had an effect, want %d", len(e.begun), len(ids))
	}
	if slowest > 20*time.Second {
		t.Errorf("a killed worker's job ran again after %v", slowest)
	}
	t.Logf("%d jobs were under way when their workers were killed, %d effects came twice, the last of a killed job after %v, %d at once",
		len(killed), twice, slowest, e.max)
}

// awaitEffects waits until so many jobs have begun.
func awaitEffects(e *effects, n int) {
	for {
		e.mu.Lock()
		begun := len(e.begun)
		e.mu.Unlock()
		if begun >= n {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}
