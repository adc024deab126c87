package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/headgate/headgate/gateway/server"
)

// enqueued returns the IDs of an answer to POST /jobs/QUEUE.
func enqueued(t testing.TB, a *answer) []string {
	t.Helper()
	var answer struct{ IDs []string }
	if err := json.Unmarshal([]byte(a.text), &answer); err != nil || a.StatusCode != http.StatusAccepted {
		t.Fatalf("%d %s", a.StatusCode, a.text)
	}
	return answer.IDs
}

func TestAppsEnqueueWithOneRequest(t *testing.T) {
	t.Parallel()
	app := newJobApp(t, func(w http.ResponseWriter, r *jobRequest) {
		if r.URL.Path == "/tasks/first" {
			w.Header().Set("Headgate-Enqueue", "/tasks/then?id=7")
		}
	})
	g := start(t, queued(app, "jobs: {token: app-token, listen: \"127.0.0.1:0\"}\nserver: {listen: \"127.0.0.1:0\", admin: {listen: \"127.0.0.1:0\", token: admin-token}}\n"))
	post := func(addr, body string, headers ...string) *answer {
		t.Helper()
		return g.sendTo(addr, "POST", "/jobs/images", strings.NewReader(body), headers...)
	}
	bearer := []string{"Authorization", "Bearer app-token"}
	one := enqueued(t, post(g.JobsAddr(), `{"url": "/tasks/mail?to=a", "upstream": "shop", "headers": {"X-A": "1", "X-B": ["2", "3"]}, "body": "päckchen", "key": "k"}`, bearer...))
	if again := enqueued(t, post(g.AdminAddr(), `{"url": "/tasks/mail?to=a", "upstream": "shop", "body": "päckchen", "key": "k"}`, bearer...)); again[0] != one[0] {
		t.Error("one key is two jobs")
	}
	enqueued(t, post(g.AdminAddr(), `{"method": "PUT", "url": "https://shop.example/a/../bytes", "upstream": "shop", "body_base64": "/wA="}`, "Authorization", "Bearer admin-token"))
	list := enqueued(t, post(g.JobsAddr(), `[{"url": "/tasks/first", "upstream": "shop"}, {"url": "/tasks/later", "upstream": "shop", "delay": "2h"}, {"url": "/tasks/then", "upstream": "shop", "at": "2090-01-01T00:00:00Z"}]`, bearer...))
	if len(list) != 3 {
		t.Fatalf("a list of three has the IDs %v", list)
	}
	eventually(t, "all that is due is done", func() bool { return len(app.requests()) == 4 })
	got := map[string]*jobRequest{}
	for _, r := range app.requests() {
		got[r.Method+" "+r.RequestURI] = r
	}
	mail := got["POST /tasks/mail?to=a"]
	if mail == nil || mail.body != "päckchen" || mail.Header.Get("X-A") != "1" || len(mail.Header["X-B"]) != 2 || mail.Header.Get("Idempotency-Key") != `"k"` || mail.Header.Get("X-Forwarded-For") != "" {
		t.Errorf("the mail: %+v", mail)
	}
	if bytes := got["PUT /bytes"]; bytes == nil || bytes.body != "\xff\x00" || bytes.Host != "shop.example" || bytes.Header.Get("X-Forwarded-Proto") != "https" {
		t.Errorf("the bytes: %+v", bytes)
	}
	if then := got["POST /tasks/then?id=7"]; then == nil || then.body != "" {
		t.Errorf("the follow-up: %+v", then)
	}
	if a := g.do("GET", "/.jobs/"+one[0]); a.StatusCode != 404 {
		t.Errorf("a client sees an app's job: %d", a.StatusCode)
	}
	if a := g.sendTo(g.AdminAddr(), "GET", "/jobs/images/"+list[1], nil, "Authorization", "Bearer admin-token"); !strings.Contains(a.text, `"waiting"`) {
		t.Errorf("the delayed one: %d %s", a.StatusCode, a.text)
	}
}

func TestWhatAppsCantEnqueue(t *testing.T) {
	t.Parallel()
	app := newJobApp(t, nil)
	g := start(t, queued(app, "jobs: {token: app-token, listen: \"127.0.0.1:0\", work: off}\nserver: {listen: \"127.0.0.1:0\", admin: {listen: \"127.0.0.1:0\", token: admin-token}}\n"))
	bearer := []string{"Authorization", "Bearer app-token"}
	for body, status := range map[string]int{
		``: 400, `{}`: 400, `[]`: 400, `"x"`: 400, `{"url": "/a"}`: 400, `{"url": "/a", "upstream": "ghost"}`: 400, `{"url": "/a", "upstream": "shop", "nonsense": 1}`: 400,
		`{"url": "a", "upstream": "shop"}`: 400, `{"url": "/a b", "upstream": "shop"}`: 400, `{"url": "ftp://h/a", "upstream": "shop"}`: 400, `{"url": "/%00", "upstream": "shop"}`: 400,
		`{"url": "/a", "upstream": "shop", "method": "G T"}`: 400, `{"url": "/a", "upstream": "shop", "delay": "1h", "at": "2090-01-01T00:00:00Z"}`: 400,
		`{"url": "/a", "upstream": "shop", "delay": -1}`: 400, `{"url": "/a", "upstream": "shop", "at": "1066-10-14T00:00:00Z"}`: 400, `{"url": "/a", "upstream": "shop", "body": "a", "body_base64": "YQ=="}`: 400, `{"url": "/a", "upstream": "shop", "body_base64": "!"}`: 400,
		`{"url": "/a", "upstream": "shop", "headers": {"Headgate-User": "1"}}`: 400, `{"url": "/a", "upstream": "shop", "headers": {"headgate_user": "1"}}`: 400,
		`{"url": "/a", "upstream": "shop", "headers": {"X-Forwarded-For": "1"}}`: 400, `{"url": "/a", "upstream": "shop", "headers": {"x_forwarded_host": "1"}}`: 400,
		`{"url": "/a", "upstream": "shop", "headers": {"Connection": "x"}}`: 400, `{"url": "/a", "upstream": "shop", "headers": {"Transfer-Encoding": "chunked"}}`: 400,
		`{"url": "/a", "upstream": "shop", "headers": {"X-A": "a\r\nX-B: c"}}`: 400, `[{"url": "/a", "upstream": "shop"}, {"url": "/a"}]`: 400,
		`{"url": "/a", "upstream": "shop", "body": "` + strings.Repeat("x", 64<<10+1) + `"}`: 413,
	} {
		if a := g.sendTo(g.JobsAddr(), "POST", "/jobs/images", strings.NewReader(body), bearer...); a.StatusCode != status {
			t.Errorf("%.100s: %d %s", body, a.StatusCode, a.text)
		}
	}
	good := `{"url": "/a", "upstream": "shop"}`
	for _, tc := range []struct {
		addr, method, path, token string
		status                    int
	}{
		{g.JobsAddr(), "POST", "/jobs/ghost", "app-token", 404},
		{g.JobsAddr(), "POST", "/jobs/images", "", 401},
		{g.JobsAddr(), "POST", "/jobs/images", "admin-token", 401},
		{g.JobsAddr(), "GET", "/jobs/images", "app-token", 405},
		{g.JobsAddr(), "GET", "/metrics", "app-token", 404},
		{g.AdminAddr(), "POST", "/jobs/images", "wrong", 401},
		{g.AdminAddr(), "GET", "/jobs", "app-token", 401},
		{g.AdminAddr(), "GET", "/jobs/images", "app-token", 401},
		{g.AdminAddr(), "POST", "/jobs/images/pause", "app-token", 401},
		{g.AdminAddr(), "POST", "/purge", "app-token", 401},
		{g.AdminAddr(), "GET", "/sessions?user=a", "app-token", 401},
	} {
		var headers []string
		if tc.token != "" {
			headers = []string{"Authorization", "Bearer " + tc.token}
		}
		if a := g.sendTo(tc.addr, tc.method, tc.path, strings.NewReader(good), headers...); a.StatusCode != tc.status {
			t.Errorf("%s %s with %q: %d, want %d", tc.method, tc.path, tc.token, a.StatusCode, tc.status)
		}
	}
	if n := queueState(t, g, "Authorization", "Bearer admin-token").Queued; n != 0 {
		t.Errorf("%d jobs are stored", n)
	}
}

func queueState(t testing.TB, g *gateway, headers ...string) admin.QueueJobs {
	t.Helper()
	var list admin.QueueJobs
	a := g.sendTo(g.AdminAddr(), "GET", "/jobs/images", nil, headers...)
	if err := json.Unmarshal([]byte(a.text), &list); err != nil || a.StatusCode != 200 {
		t.Fatalf("%v %d %s", err, a.StatusCode, a.text)
	}
	return list
}

func TestWithoutATokenOnlyProgramsOfThisMachineEnqueue(t *testing.T) {
	t.Parallel()
	app := newJobApp(t, nil)
	g := start(t, queued(app, "jobs: {listen: \"127.0.0.1:0\", work: off}\n"))
	for _, addr := range []string{g.JobsAddr(), g.AdminAddr()} {
		for _, headers := range [][]string{{"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "cross-site"}, {"Host", "evil.example"}} {
			if a := g.sendTo(addr, "POST", "/jobs/images", strings.NewReader(`{"url": "/a", "upstream": "shop"}`), headers...); a.StatusCode != 403 {
				t.Errorf("%v: %d", headers, a.StatusCode)
			}
		}
		enqueued(t, g.sendTo(addr, "POST", "/jobs/images", strings.NewReader(`{"url": "/a", "upstream": "shop"}`)))
	}
}

func TestOperatorsSeeAndChangeQueues(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	broken.Store(true)
	app := newJobApp(t, func(w http.ResponseWriter, r *jobRequest) {
		if broken.Load() {
			w.WriteHeader(400)
		}
	})
	g := start(t, queued(app, ""))
	var failed []jobState
	for i := range 3 {
		failed = append(failed, g.done(g.take("POST", fmt.Sprintf("/images/%d/resize", i), "")))
	}
	list := queueState(t, g)
	if list.Failed != 3 || len(list.Jobs) != 3 || list.Jobs[0].Answered != 400 || list.Jobs[0].Reason == "" || list.Jobs[0].Address != "127.0.0.1" {
		t.Errorf("%+v", list)
	}
	if a := g.admin("POST", "/jobs/images/pause"); a.StatusCode != 200 || !strings.Contains(a.text, `"paused": true`) {
		t.Errorf("pause: %d %s", a.StatusCode, a.text)
	}
	broken.Store(false)
	if a := g.admin("POST", "/jobs/images/"+failed[0].ID+"/retry"); a.StatusCode != 200 || !strings.Contains(a.text, `"queued"`) {
		t.Errorf("retry: %d %s", a.StatusCode, a.text)
	}
	if a := g.admin("POST", "/jobs/images/"+failed[0].ID+"/retry"); a.StatusCode != 409 {
		t.Errorf("retry of one that has not failed: %d %s", a.StatusCode, a.text)
	}
	if a := g.admin("POST", "/jobs/images/retry"); a.StatusCode != 200 || !strings.Contains(a.text, `"retried": 2`) {
		t.Errorf("retry of all: %d %s", a.StatusCode, a.text)
	}
	waiting := g.take("POST", "/images/9/resize", "")
	if a := g.admin("DELETE", "/jobs/images/"+waiting.ID); a.StatusCode != 200 || !strings.Contains(a.text, `"cancelled"`) {
		t.Errorf("cancel: %d %s", a.StatusCode, a.text)
	}
	if list := queueState(t, g); list.Queued != 3 || list.Cancelled != 1 || list.Done != 0 || !list.Paused {
		t.Errorf("paused: %+v", list)
	}
	g.admin("POST", "/jobs/images/resume")
	for _, j := range failed {
		if now := g.done(j); now.Status != "done" {
			t.Errorf("%+v", now)
		}
	}
	for _, path := range []string{"/jobs/ghost", "/jobs/images/x", "/jobs/images/images-" + strings.Repeat("0", 26)} {
		if a := g.admin("GET", path); a.StatusCode != 404 {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
	}
	if n := g.metric(`headgate_jobs{queue="images",status="done"}`); n != 3 {
		t.Errorf("headgate_jobs of done: %v", n)
	}
	if n := g.metric("headgate_job_attempts_total"); n != 6 {
		t.Errorf("headgate_job_attempts_total: %v", n)
	}
	eventually(t, "each attempt has a line in the access log", func() bool { return strings.Count(g.log.String(), `"attempt":1`) == 6 })
}

func TestASchedulesJobIsDone(t *testing.T) {
	t.Parallel()
	app := newJobApp(t, nil)
	g := start(t, queued(app, `schedules: {often: {cron: "@every 1s", queue: images, url: /tasks/often, upstream: shop, headers: {X-A: b}, body: x}}
`))
	eventually(t, "the app was asked twice", func() bool { return len(app.requests()) >= 2 })
	if r := app.requests()[0]; r.Method != "POST" || r.RequestURI != "/tasks/often" || r.Header.Get("X-A") != "b" || r.body != "x" {
		t.Errorf("%+v", r)
	}
	_ = g
}

func TestAGatewayThatEndsGivesItsJobsTime(t *testing.T) {
	t.Parallel()
	began, hold := make(chan string, 8), make(chan struct{})
	app := newJobApp(t, func(w http.ResponseWriter, r *jobRequest) {
		began <- r.URL.Path
		if strings.HasPrefix(r.URL.Path, "/images/long") {
			<-r.Context().Done()
			return
		}
		<-hold
	})
	shared, err := server.NewShared()
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	_ = shared
	g := start(t, queued(app, ""))
	g.take("POST", "/images/short/resize", "")
	g.take("POST", "/images/long/resize", "")
	<-began
	<-began
	g.take("POST", "/images/never/resize", "")
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(ended)
		g.Shutdown(ctx)
	}()
	close(hold)
	queues := g.Jobs()
	eventually(t, "the short job is done", func() bool {
		s, err := queues.Stats(t.Context(), "images")
		return err == nil && s.Done == 1
	})
	select {
	case <-ended:
		t.Fatal("the gateway has ended while a job ran")
	default:
	}
	cancel() // the grace is over
	<-ended
	s, err := queues.Stats(t.Context(), "images")
	if err != nil || s.Queued != 2 || s.Running != 0 {
		t.Errorf("the long job is not back in the queue: %+v %v", s, err)
	}
	if n := len(app.requests()); n != 2 {
		t.Errorf("the app got %d requests", n)
	}
}

func TestAReloadKeepsJobs(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	app := newJobApp(t, func(http.ResponseWriter, *jobRequest) { <-hold })
	var policy atomic.Value
	with := queued(app, "")
	policy.Store(with)
	var log lockedBuffer
	g := reloadable(t, &policy, func(o *server.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	running := g.take("POST", "/images/1/resize", "")
	g.take("POST", "/images/2/resize", "")
	waiting := g.take("POST", "/images/3/resize", "")
	eventually(t, "two run", func() bool { return len(app.requests()) == 2 })

	policy.Store(strings.NewReplacer("queues: {images:", "queues: {others:", "queue: images", "queue: others", "name: images", "name: others").Replace(with))
	if err := g.Reload("test"); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); !strings.Contains(text, "jobs left") || !strings.Contains(text, "queue=images") {
		t.Errorf("the log does not warn: %s", text)
	}
	if a := g.do("GET", waiting.Location); a.StatusCode != 404 {
		t.Errorf("a job of a queue that is gone: %d", a.StatusCode)
	}
	close(hold)
	policy.Store(strings.Replace(with, "concurrency: 2", "concurrency: 3", 1))
	if err := g.Reload("test"); err != nil {
		t.Fatal(err)
	}
	for _, j := range []jobState{running, waiting} {
		if now := g.done(j); now.Status != "done" {
			t.Errorf("%+v", now)
		}
	}

	policy.Store(with + "jobs: {work: off}\n")
	if err := g.Reload("test"); err != nil {
		t.Fatal(err)
	}
	left := g.take("POST", "/images/4/resize", "")
	if a := g.do("GET", left.Location, "Prefer", "wait=1"); g.jobIn(a).Status != "queued" {
		t.Errorf("an instance that does not work: %s", a.text)
	}
	policy.Store(with)
	if err := g.Reload("test"); err != nil {
		t.Fatal(err)
	}
	if now := g.done(left); now.Status != "done" {
		t.Errorf("%+v", now)
	}
}

func TestAQueueIsFullByItsBytes(t *testing.T) {
	t.Parallel()
	app := newJobApp(t, nil)
	g := start(t, strings.Replace(queued(app, "jobs: {work: off}\n"), "max_body: 64KiB", "max_body: 1KiB, max_bytes: 8KiB", 1))
	for range 100 {
		a := g.send("POST", "/images/1/resize", strings.NewReader(strings.Repeat("x", 1000)))
		if a.StatusCode == 429 {
			if a.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			return
		}
	}
	t.Error("the queue is never full")
}

func TestAClientWaitsForItsJob(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	app := newJobApp(t, func(http.ResponseWriter, *jobRequest) { <-hold })
	g := start(t, queued(app, ""))
	job := g.take("POST", "/images/1/resize", "")
	if a := g.do("GET", job.Location+"/result"); a.StatusCode != 409 || a.Header.Get("Retry-After") == "" {
		t.Errorf("the result of a job that is not over: %d", a.StatusCode)
	}
	answers := make(chan *answer, 2)
	go func() { answers <- g.do("GET", job.Location, "Prefer", "wait=60") }()
	go func() { answers <- g.do("GET", job.Location+"/result", "Prefer", "wait=60") }()
	eventually(t, "it runs", func() bool { return len(app.requests()) == 1 })
	close(hold)
	for range 2 {
		if a := <-answers; a.StatusCode != 200 || strings.HasPrefix(a.Request.URL.Path, "/.jobs/") && strings.Contains(a.text, `"running"`) {
			t.Errorf("%d %s", a.StatusCode, a.text)
		}
	}

	again := make(chan struct{})
	held := newJobApp(t, func(_ http.ResponseWriter, r *jobRequest) { <-again })
	t.Cleanup(func() { close(again) })
	g2 := start(t, queued(held, ""))
	job = g2.take("POST", "/images/1/resize", "")
	go func() { answers <- g2.do("GET", job.Location, "Prefer", "wait=60") }()
	eventually(t, "the client waits", func() bool { return g2.metric("headgate_requests_in_flight") >= 1 })
	begun := time.Now()
	go g2.Shutdown(t.Context())
	if a := <-answers; a.StatusCode != 200 || time.Since(begun) > 50*time.Second {
		t.Errorf("a client that waits while the gateway ends: %d after %v", a.StatusCode, time.Since(begun))
	}
}
