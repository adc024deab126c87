//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// jobPath is where a POST becomes a job; the job's key follows.
const jobPath = "/work/"

// job is one that the gateway has taken: it answered 202.
type job struct {
	key, location string
	owner         *client // the only one that may ask for it
}

// jobs knows what the gateway has taken.
type jobs struct {
	mu    sync.Mutex
	taken []job
}

// enqueue sends jobs, each with a key of its own, until ctx ends. Where there is no answer, or 5xx,
// the job may have been taken: it is sent again with its key, which is the same job.
func (j *jobs) enqueue(ctx context.Context, c *client) {
	for n := 0; pause(ctx, c.rng, 500*time.Millisecond); n++ {
		key := fmt.Sprintf("%s-job%d", c.name, n)
		for ctx.Err() == nil {
			a := c.do(ctx, request{kind: "enqueue", method: "POST", path: jobPath + key, body: []byte(key), header: map[string]string{"Idempotency-Key": `"` + key + `"`}})
			if a.err == nil && a.status == http.StatusAccepted {
				j.mu.Lock()
				j.taken = append(j.taken, job{key, a.header.Get("Location"), c})
				j.mu.Unlock()
				break
			}
			pause(ctx, c.rng, 200*time.Millisecond)
		}
	}
}

// outcome is what became of a job.
type outcome struct {
	status  string  // by the gateway
	results []*page // each time that the result was asked for
	effects int     // how often app servers had the job, and answered it
}

// judge checks what has become of a job when all was well again. It may have been done twice: a
// gateway that dies can't tell whether the app server was done. There is one result all the same.
func (o outcome) judge(j job) (found []finding) {
	holds := o.status == "done" && o.effects >= 1 && len(o.results) > 0
	found = append(found, finding{invariant: jobsDone, holds: holds, detail: fmt.Sprintf("%s is %q, with %d effects and %d results", j.location, o.status, o.effects, len(o.results))})
	for _, p := range o.results {
		found = append(found, finding{invariant: jobsDone, holds: *p == *o.results[0], detail: j.location + " has two results"})
	}
	return found
}

// finish asks for each job that was taken, through any gateway, until it is over, and judges it.
// What is not over when patience is, is asked for once more.
func (j *jobs) finish(ctx context.Context, r *report, s *site) {
	deadline := time.Now().Add(patience)
	for _, job := range j.taken {
		var o outcome
		for o.status = job.ask(ctx); !isOver(o.status) && time.Now().Before(deadline); o.status = job.ask(ctx) {
			if !sleep(ctx, 100*time.Millisecond) {
				return
			}
		}
		for range 2 {
			a := job.owner.do(ctx, request{kind: "job result", method: "GET", path: job.location + "/result", asks: jobPath + job.key, cached: true})
			if a.page != nil {
				o.results = append(o.results, a.page)
			}
		}
		o.effects = s.effects(job.key)
		for _, f := range o.judge(job) {
			r.judge(f, job.key)
		}
	}
}

// ask returns how a job stands, or the error.
func (j job) ask(ctx context.Context) string {
	a := j.owner.do(ctx, request{kind: "job", method: "GET", path: j.location, byGateway: true})
	var is struct{ Status string }
	if a.err != nil || json.Unmarshal(a.body, &is) != nil || is.Status == "" {
		return fmt.Sprintf("%d %.200s %v", a.status, a.body, a.err)
	}
	return is.Status
}

func isOver(status string) bool {
	return status == "done" || status == "failed" || status == "cancelled"
}

// isJob reports whether an app server is asked on behalf of a job, and names the job's key.
func isJob(r *http.Request) (key string, ok bool) {
	key, ok = strings.CutPrefix(r.URL.Path, jobPath)
	return key, ok && r.Header.Get("Headgate-Job") != ""
}
