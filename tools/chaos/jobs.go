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
// All of them have twice the time of patience together.
func (j *jobs) finish(ctx context.Context, r *report, s *site) {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	for _, job := range j.taken {
		var o outcome
		c := job.owner
		err := eventually(ctx, "job "+job.key+" is over", func() error {
			a := c.do(ctx, request{kind: "job", method: "GET", path: job.location, own: true})
			var is struct{ Status string }
			if a.err == nil && a.status == http.StatusOK {
				_ = json.Unmarshal(a.body, &is)
			}
			if o.status = is.Status; o.status != "done" && o.status != "failed" && o.status != "cancelled" {
				return fmt.Errorf("%s: %d %.200s", job.location, a.status, a.body)
			}
			return nil
		})
		if err != nil {
			o.status = err.Error()
		}
		for range 2 {
			a := c.do(ctx, request{kind: "job result", method: "GET", path: job.location + "/result", asks: jobPath + job.key, cached: true})
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

// isJob reports whether an app server is asked on behalf of a job, and names the job's key.
func isJob(r *http.Request) (key string, ok bool) {
	key, ok = strings.CutPrefix(r.URL.Path, jobPath)
	return key, ok && r.Header.Get("Headgate-Job") != ""
}
