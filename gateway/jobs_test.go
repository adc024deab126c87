package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/headgate/headgate/internal/redistest"
)

// jobsPolicy has a queue in Redis.
func jobsPolicy(redis, app, more string) string {
	return fmt.Sprintf(`
redis: {url: %q, timeout: 50s}
upstreams: {shop: {servers: [%q]}}
queues: {images: {concurrency: 3, backoff: {first: 100ms, most: 1s}, timeout: 2m}}
routes: [{name: resize, path: /images/*, upstream: shop, queue: images}]
%s`, redis, app, more)
}

// take sends a request that becomes a job, and returns its location.
func (p *process) take(path string) string {
	p.t.Helper()
	status, text, h := p.do("POST", path)
	if status != http.StatusAccepted {
		p.t.Fatalf("POST %s: %d %s", path, status, text)
	}
	return h.Get("Location")
}

func (p *process) jobStatus(location string) string {
	p.t.Helper()
	_, text, _ := p.do("GET", location)
	var j struct{ Status string }
	_ = json.Unmarshal([]byte(text), &j) // "" is no status
	return j.Status
}

func TestJobsOutliveTheirGatewaysAndRunAtMostAsManyAtOnceAsTheQueueSays(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	var running, most atomic.Int64
	var mu sync.Mutex
	effects := map[string]int{}
	app := testApp(t, func(w http.ResponseWriter, r *http.Request) {
		now := running.Add(1)
		defer running.Add(-1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		time.Sleep(5 * time.Millisecond) // the work
		mu.Lock()
		defer mu.Unlock()
		effects[r.URL.Path]++
	})
	policy := jobsPolicy(redis.URL, app, "")
	a, b := startProcess(t, policy), startProcess(t, policy)
	var locations []string
	for i := range 60 {
		locations = append(locations, []*process{a, b}[i%2].take(fmt.Sprintf("/images/%d", i)))
	}
	for _, l := range locations {
		a.eventually(l+" is done", func() bool { return a.jobStatus(l) == "done" })
	}
	if n := most.Load(); n > 3 {
		t.Errorf("%d ran at once, and concurrency is 3", n)
	}
	for i := range 20 {
		locations = append(locations, a.take(fmt.Sprintf("/images/then-%d", i)))
	}
	must(t, a.Process.Kill())
	<-a.exited
	for i := range 20 {
		locations = append(locations, b.take(fmt.Sprintf("/images/more-%d", i)))
	}
	a.start()
	for _, l := range locations {
		b.eventually(l+" is done", func() bool { return b.jobStatus(l) == "done" })
	}
	mu.Lock()
	defer mu.Unlock()
	if len(effects) != len(locations) {
		t.Errorf("%d of %d jobs had an effect", len(effects), len(locations))
	}
	// The app goes on with up to three requests of the gateway that was killed, while their leases are another's.
	if n := most.Load(); n > 6 {
		t.Errorf("%d ran at once", n)
	}
}

func TestAKilledGatewaysJobRunsAgainElsewhere(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	attempts := make(chan string, 10)
	var killed atomic.Bool
	app := testApp(t, func(w http.ResponseWriter, r *http.Request) {
		attempts <- r.Header.Get("Headgate-Attempt") + " " + r.Header.Get("Idempotency-Key")
		if !killed.Load() {
			<-r.Context().Done()
			return
		}
		io.WriteString(w, "made")
	})
	taker := startProcess(t, jobsPolicy(redis.URL, app, "jobs: {work: off}\n"))
	worker := startProcess(t, jobsPolicy(redis.URL, app, ""))
	location := taker.take("/images/1")
	first := <-attempts
	if status := taker.jobStatus(location); status != "running" {
		t.Errorf("at the gateway that does not work the job is %s", status)
	}
	killed.Store(true)
	must(t, worker.Process.Kill())
	<-worker.exited
	worker.start()
	if second := <-attempts; second != first {
		t.Errorf("the attempt that was lost counts, or has another key: %s, then %s", first, second)
	}
	taker.eventually("it is done", func() bool { return taker.jobStatus(location) == "done" })
	if _, text, _ := taker.do("GET", location+"/result"); text != "made" {
		t.Errorf("the result is %q", text)
	}
}

func TestHeadgateWorkDoesJobsAlone(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	hold := make(chan struct{})
	var asked atomic.Int64
	app := testApp(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-hold
	})
	taker := startProcess(t, jobsPolicy(redis.URL, app, "jobs: {work: off}\n"))
	location := taker.take("/images/1")
	w := &process{t: t, policy: taker.policy, addr: freeAddr(t), admin: freeAddr(t), output: new(output), exited: make(chan error, 1)}
	w.startAs("work", "--admin-listen", w.admin)
	t.Cleanup(func() { _ = w.Process.Kill() })
	w.eventually("the worker asks the app", func() bool { return asked.Load() == 1 })
	must(t, w.Process.Signal(syscall.SIGTERM))
	close(hold)
	if err := <-w.exited; err != nil {
		t.Errorf("the worker ended with %v\n%s", err, w.output)
	}
	if status := taker.jobStatus(location); status != "done" {
		t.Errorf("a job that ran when the worker was told to end is %s", status)
	}
	if out, err := taker.command("work", "-p", taker.policy, "--admin-listen", "off", "nonsense"); err == nil {
		t.Errorf("%s", out)
	}
}

func TestJobsCommands(t *testing.T) {
	t.Parallel()
	app := testApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/images/bad" {
			w.WriteHeader(422)
		}
	})
	p := startProcess(t, fmt.Sprintf("upstreams: {shop: {servers: [%q]}}\nqueues: {images: {}, mails: {}}\nroutes: [{name: resize, path: /images/*, upstream: shop, queue: images}]\n", app))
	run := func(args ...string) string {
		t.Helper()
		out, err := p.command(append(args, "--admin", p.admin)...)
		if err != nil {
			t.Errorf("%v: %v %s", args, err, out)
		}
		return strings.Join(strings.Fields(out), " ")
	}
	if out := run("jobs"); !strings.Contains(out, "images 0 0 0 of 4 0 0 0 - -") || !strings.Contains(out, "mails") {
		t.Error(out)
	}
	location := p.take("/images/bad")
	id := strings.TrimPrefix(location, "/.jobs/")
	p.eventually("it has failed", func() bool { return p.jobStatus(location) == "failed" })
	if out := run("jobs", "images"); !strings.Contains(out, id+" failed 1 ") || !strings.Contains(out, "127.0.0.1 POST /images/bad") {
		t.Error(out)
	}
	if out := run("jobs", "show", id); !strings.Contains(out, "status failed") || !strings.Contains(out, "the app answered 422 last") {
		t.Error(out)
	}
	var list admin.QueueJobs
	if err := json.Unmarshal([]byte(run("jobs", "images", "--status", "failed", "--json")), &list); err != nil || len(list.Jobs) != 1 || list.Jobs[0].ID != id {
		t.Errorf("%v %+v", err, list)
	}
	if out := run("jobs", "pause", "images"); !strings.Contains(out, "paused") {
		t.Error(out)
	}
	if out := run("jobs", "retry", id); !strings.Contains(out, "status queued") {
		t.Error(out)
	}
	if out := run("jobs", "cancel", id); !strings.Contains(out, "status cancelled") {
		t.Error(out)
	}
	if out := run("jobs", "retry", "images"); !strings.Contains(out, "0 failed jobs of images") {
		t.Error(out)
	}
	run("jobs", "resume", "images")
	for _, wrong := range [][]string{{"jobs", "ghost"}, {"jobs", "show", "images"}, {"jobs", "--status", "failed"}, {"jobs", "images", "--status", "odd"}, {"jobs", "retry", "ghost"}} {
		if out, err := p.command(append(wrong, "--admin", p.admin)...); err == nil {
			t.Errorf("%v: %s", wrong, out)
		}
	}
}
