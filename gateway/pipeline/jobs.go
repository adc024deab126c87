package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/jobs"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/policies"
)

// jobsRouteName is what log, metrics and limits by route call the paths below jobs.path. No route of a policy can have the name.
const jobsRouteName = ".jobs"

// maxJobWait bounds Prefer: wait, for which a client's connection is held.
const maxJobWait = time.Minute

// newJobsRoute returns what takes the requests below jobs.path, where clients ask for their jobs: the limits of defaults hold,
// and the CSRF rules of sessions. It is nil in a policy without queues.
func (p *Pipeline) newJobsRoute() (*Route, error) {
	if len(p.policy.Queues) == 0 {
		return nil, nil
	}
	var policy policies.Route
	policy.SetDefaults()
	policy.Name, policy.Path, policy.Limits = jobsRouteName, []string{p.policy.Jobs.Path + "/*"}, p.policy.Defaults.Limits
	policy.Session, policy.CSRF = session.Optional, !p.policy.Session.CSRF.Off
	rt, err := p.newRoute(&policy)
	if err != nil {
		return nil, err
	}
	rt.stages = []Stage{{StageIdentity, identify, explainIdentity}}
	if rt.limiter != nil {
		rt.stages = append(rt.stages, Stage{StageDenyCache, remembered, nil})
	}
	rt.stages = append(rt.stages,
		Stage{StageAdmit, admit, explainLimits},
		Stage{StageAuthorize, authorize, explainSession},
		Stage{StageJobs, askForJob, explainJobs},
	)
	return rt, nil
}

// asksForJob reports whether the request is for a path below jobs.path, on a host that some route names.
func (r *Request) asksForJob() bool {
	p := r.pipeline
	if p.jobs == nil {
		return false
	}
	rest, ok := strings.CutPrefix(r.Path.RawPath, p.policy.Jobs.Path)
	return ok && (rest == "" || rest[0] == '/') && p.matcher.NamesHost(r.Host)
}

// askForJob answers who asks for a job.
func askForJob(r *Request) *Answer {
	rest := strings.TrimPrefix(r.Path.RawPath, r.pipeline.policy.Jobs.Path)
	id, below, deeper := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	if _, ok := jobs.QueueOf(id); !ok || deeper && below != "result" {
		return noJob()
	}
	allow := "GET, HEAD, DELETE, OPTIONS"
	if deeper {
		allow = "GET, HEAD, OPTIONS"
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodDelete:
		if !deeper {
			break
		}
		fallthrough
	default:
		return refuse(http.StatusMethodNotAllowed, "This path is not served with this method.").with("Allow", allow)
	case http.MethodOptions:
		return r.answered(Answer{Status: http.StatusNoContent, Detail: "the gateway answers for itself", form: asBare, Header: http.Header{"Allow": {allow}}})
	}
	return r.backends.AskForJob(r, id, deeper)
}

// noJob is the answer to all but who asked for the job, and where there is none.
func noJob() *Answer { return refuse(http.StatusNotFound, "There is no such job.") }

// AskForJob shows a job, or its result, to who has asked for it, or cancels it.
func (b liveBackends) AskForJob(r *Request, id string, result bool) *Answer {
	if r.Session.Err() != nil { // whose job it is can't be compared; to call it missing would be wrong
		return refuse(http.StatusServiceUnavailable, "The session can't be looked up at the moment.").with("Retry-After", "1").because(r.Session.Err())
	}
	job, err := b.parts.Jobs.Get(r, id)
	if err == nil && !owns(job.Owner, r.asker()) {
		return noJob()
	}
	if err == nil && r.Method == http.MethodDelete {
		job, err = b.parts.Jobs.Cancel(r, id)
	} else if wait := httpx.ParsePrefer(r.Header["Prefer"]).Wait; err == nil && wait > 0 && !job.Status.Over() {
		job, err = b.waitForJob(r, job, wait)
	}
	r.job, r.queue = id, job.Queue
	switch {
	case err != nil:
		return jobsAway(err)
	case result:
		return b.jobResult(r, job)
	}
	a := b.jobAnswer(http.StatusOK, job)
	if httpx.ParsePrefer(r.Header["Prefer"]).Wait > 0 {
		a.with("Preference-Applied", "wait")
	}
	return a
}

// owns reports whether the asker has asked for the job of owner. A browser may have logged in since it asked without a session.
func owns(owner, asker jobs.Owner) bool {
	return owner.Owns(asker) || owner.Owns(jobs.Owner{Addr: asker.Addr})
}

// waitForJob waits until the job is over, for as long as the client says, and no longer than the gateway lives.
func (b liveBackends) waitForJob(r *Request, job jobs.Job, wait time.Duration) (jobs.Job, error) {
	ctx, cancel := context.WithCancel(r)
	defer cancel()
	if ending := b.parts.Ending; ending != nil {
		go func() {
			select {
			case <-ending:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	now, err := b.parts.Jobs.Wait(ctx, job.ID, min(wait, maxJobWait))
	if errors.Is(err, context.Canceled) && r.Err() == nil {
		return b.parts.Jobs.Get(r, job.ID) // the gateway ends: the client asks another instance
	}
	return now, err
}

// jobsAway is the answer where the jobs can't be asked.
func jobsAway(err error) *Answer {
	if errors.Is(err, jobs.ErrNotFound) {
		return noJob()
	}
	return refuse(http.StatusServiceUnavailable, "Jobs can't be asked for at the moment.").with("Retry-After", "1").because(err)
}

// jobResult is the app's answer.
func (b liveBackends) jobResult(r *Request, job jobs.Job) *Answer {
	if !job.Status.Over() {
		return refuse(http.StatusConflict, "The job is not over.").with("Retry-After", wholeSeconds(job.Estimate))
	}
	res, err := b.parts.Jobs.Result(r, job.ID)
	switch {
	case errors.Is(err, jobs.ErrNotFound):
		return refuse(http.StatusNotFound, "The job is over, and has no answer of the app server.")
	case err != nil:
		return jobsAway(err)
	case res.Truncated:
		return refuse(http.StatusGone, "The app server's answer was too large to be kept.")
	}
	h := res.Header.Clone()
	if h == nil {
		h = http.Header{}
	}
	contentType := h.Get("Content-Type")
	for _, name := range []string{"Content-Type", "Content-Length", "Accept-Ranges", "Age", "Date", "Cdn-Cache-Control", "Expires", headerRequestID} {
		h.Del(name)
	}
	h.Set("Cache-Control", "private, no-store")
	return &Answer{Status: res.Status, Detail: "the answer to a job", Header: h, form: asJob, body: res.Body, contentType: contentType}
}

// jobView is a job as who has asked for it sees it.
type jobView struct {
	ID       string      `json:"id"`
	Status   jobs.Status `json:"status"`
	Location string      `json:"location"`
	Place    int64       `json:"place,omitempty"`            // in the queue
	Estimate int64       `json:"estimate_seconds,omitempty"` // until it is over
	Attempts int         `json:"attempts"`
	Created  time.Time   `json:"created"`
	Due      *time.Time  `json:"due,omitempty"` // of a job that waits for its time
	Finished *time.Time  `json:"finished,omitempty"`
	Expires  *time.Time  `json:"expires,omitempty"`
	Result   string      `json:"result,omitempty"` // where the app's answer is
	Answered int         `json:"result_status,omitempty"`
}

// jobAnswer shows how a job stands.
func (p *Pipeline) jobAnswer(status int, job jobs.Job) *Answer {
	v := jobView{ID: job.ID, Status: job.Status, Location: p.jobURL(job.ID), Place: job.Place, Attempts: job.Attempts, Created: job.Created}
	a := &Answer{Status: status, Detail: "the job is " + string(job.Status), form: asJob, contentType: "application/json"}
	switch {
	case job.Status.Over():
		v.Finished, v.Expires = &job.Finished, &job.Expires
		if job.AppStatus != 0 {
			v.Result, v.Answered = v.Location+"/result", job.AppStatus
		}
	default:
		if job.Status == jobs.Waiting {
			v.Due = &job.Due
		}
		v.Estimate = int64((job.Estimate + time.Second - 1) / time.Second)
		a.with("Retry-After", wholeSeconds(job.Estimate))
	}
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings, numbers and times
	}
	a.body = append(body, '\n')
	return a.with("Cache-Control", "private, no-store")
}

func (p *Pipeline) jobURL(id string) string { return p.policy.Jobs.Path + "/" + id }

func explainJobs(r *Request, e *Explanation) {
	e.Answer = "the gateway: jobs, to who has asked for them"
}
