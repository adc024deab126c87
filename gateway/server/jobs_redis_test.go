package server_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/internal/redistest"
)

// Jobs have a Redis of their own where redis.jobs says so, and one that evicts is warned of.
func TestJobsCanHaveARedisOfTheirOwn(t *testing.T) {
	t.Parallel()
	limits, own := redistest.Start(t), redistest.Start(t)
	for key, value := range map[string]string{"maxmemory": "1gb", "maxmemory-policy": "allkeys-lru"} {
		if err := own.Client.ConfigSet(t.Context(), key, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	app := newJobApp(t, nil)
	var log lockedBuffer
	g := start(t, queued(app, fmt.Sprintf("redis: {url: %q, timeout: 5s, jobs: {url: %q}}\n", limits.URL, own.URL)),
		func(o *server.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	if job := g.done(g.take("POST", "/images/1/resize", "")); job.Status != "done" {
		t.Errorf("%+v", job)
	}
	if keys := limits.Client.Keys(t.Context(), "*jobs*").Val(); len(keys) > 0 {
		t.Errorf("the other Redis has %v", keys)
	}
	if keys := own.Client.Keys(t.Context(), "headgate:jobs:*").Val(); len(keys) == 0 {
		t.Error("the jobs' Redis has no jobs")
	}
	eventually(t, "the log warns", func() bool { return strings.Contains(log.String(), "may evict jobs") })
	if text := g.admin("GET", "/readyz?verbose").text; !strings.Contains(text, "jobs: ok") || !strings.Contains(text, "may evict jobs") {
		t.Errorf("/readyz: %s", text)
	}
	own.Kill()
	a := g.do("POST", "/images/1/resize")
	if a.StatusCode != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("a job that can't be stored: %d", a.StatusCode)
	}
	if a := g.do("GET", "/other"); a.StatusCode != 200 {
		t.Errorf("another route without the jobs' Redis: %d", a.StatusCode)
	}
	eventually(t, "it is known", func() bool { return strings.Contains(g.admin("GET", "/readyz").text, "degraded: redis") })
}

// The documented rights are enough for jobs, on one server.
func TestTheDocumentedACLIsEnoughForJobs(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	if err := redis.Client.Do(t.Context(), documentedACL(t)...).Err(); err != nil {
		t.Fatal(err)
	}
	url := strings.Replace(redis.URL, "redis://", "redis://headgate:pw@", 1)
	app := newJobApp(t, func(w http.ResponseWriter, r *jobRequest) {
		if r.URL.Path == "/images/bad/resize" {
			w.WriteHeader(400)
		}
	})
	g := start(t, queued(app, fmt.Sprintf("redis: {url: %q, timeout: 5s}\nschedules: {often: {cron: \"@every 1s\", queue: images, url: /tasks/often, upstream: shop}}\n", url)))
	cookie := g.logIn("alice")
	if job := g.done(g.take("POST", "/images/1/resize", strings.Repeat("x", 20<<10), "Idempotency-Key", "k")); job.Status != "done" {
		t.Errorf("%+v", job)
	}
	bad := g.done(g.take("POST", "/images/bad/resize", "", "Cookie", cookie), "Cookie", cookie)
	for _, ask := range [][2]string{
		{"POST", "/jobs/images/pause"}, {"GET", "/jobs"}, {"GET", "/jobs/images"}, {"GET", "/jobs/images?status=done"}, {"GET", "/jobs/images/" + bad.ID},
		{"POST", "/jobs/images/" + bad.ID + "/retry"}, {"DELETE", "/jobs/images/" + bad.ID}, {"POST", "/jobs/images/retry"}, {"POST", "/jobs/images/resume"}, {"DELETE", "/sessions?user=alice"},
	} {
		if a := g.admin(ask[0], ask[1]); a.StatusCode != 200 {
			t.Errorf("%s %s: %d %s", ask[0], ask[1], a.StatusCode, a.text)
		}
	}
	eventually(t, "the schedule's job was done", func() bool {
		for _, r := range app.requests() {
			if r.URL.Path == "/tasks/often" {
				return true
			}
		}
		return false
	})
	if text := refused(t, redis); text != "" {
		t.Errorf("refused: %s", text)
	}
}
