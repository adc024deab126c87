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
	asWorker   = "HEADGATE_TEST_JOBS_WORKER"
	workersApp = "HEADGATE_TEST_JOBS_APP"
)

const fleetConcurrency = 16

func fleetQueue() jobs.Queue {
	return jobs.Queue{Concurrency: fleetConcurrency, Retries: 3, Backoff: jobs.Backoff{First: 100 * time.Millisecond, Most: time.Second}}
}

// workUntilKilled is what a worker's process does.
func workUntilKilled(url, app string) {
	r, err := store.Open(store.Options{URL: url, Timeout: time.Second, KeyPrefix: "test:"})
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

// workersOf starts worker processes, and returns what kills one of them, starts another in its place, and returns the jobs that it was at.
func workersOf(t *testing.T, n int, e *effects, url, app string) (kill func() map[string]time.Time) {
	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), asWorker+"="+url, workersApp+"="+app)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	end := func(cmd *exec.Cmd) {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	workers := make([]*exec.Cmd, n)
	for i := range workers {
		workers[i] = start()
	}
	t.Cleanup(func() {
		for _, cmd := range workers {
			end(cmd)
		}
	})
	return func() map[string]time.Time {
		i := rand.IntN(n)
		worker := fmt.Sprint(workers[i].Process.Pid)
		end(workers[i])
		killed := map[string]time.Time{}
		e.mu.Lock()
		for id := range e.running[worker] {
			killed[id] = time.Now()
		}
		e.mu.Unlock()
		workers[i] = start()
		return killed
	}
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
		t.Skip("it takes half a minute")
	}
	s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	e, app := newEffects(t)
	q := openTo(t, s.URL, 5*time.Second, fleetQueue())
	kill := workersOf(t, 4, e, s.URL, app)

	const n = 1000
	ids := make([]string, n)
	half, took := make(chan struct{}), make(chan struct{})
	var once sync.Once
	go func() {
		defer close(took)
		each(n, 8, func(i int) {
			ids[i] = takeSurely(t, q, fmt.Sprint("job ", i))
			if i > n/8 {
				once.Do(func() { close(half) })
			}
		})
	}()
	<-half
	killed := map[string]time.Time{}
	for i := range 5 {
		for id, at := range kill() {
			killed[id] = at
		}
		switch i {
		case 1:
			s.Restart()
		case 3:
			s.Kill()
			s.Restart()
		}
		awaitEffects(e, (i+1)*n/8)
	}
	<-took

	for i, id := range ids {
		job, res := overSurely(t, q, id)
		if job.Status != jobs.Done || job.Attempts != 1 || string(res.Body) != "did "+id {
			t.Fatalf("job %d: %+v, result %q", i, job, res.Body)
		}
	}
	twice, slowest := 0, time.Duration(0)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ids {
		begun := e.begun[id]
		twice += len(begun) - 1
		if at, ok := killed[id]; ok && len(begun) > 1 {
			slowest = max(slowest, begun[len(begun)-1].Sub(at))
		}
	}
	if len(e.begun) != n {
		t.Errorf("%d jobs had an effect, want %d", len(e.begun), n)
	}
	if e.max > fleetConcurrency {
		t.Errorf("%d jobs ran at once, want %d at most", e.max, fleetConcurrency)
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
