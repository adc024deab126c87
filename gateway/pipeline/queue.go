package pipeline

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/jobs"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/policies"
)

// enqueue is the stage of routes with a queue. It makes a job of the request, which the client is told by 202, once it is
// stored; a request that does not become a job passes.
func enqueue(r *Request) *Answer {
	if !r.becomesJob() {
		return nil
	}
	return r.backends.Enqueue(r)
}

// becomesJob reports whether the request is one of those that the route's queue takes: see [policies.RouteQueue].
func (r *Request) becomesJob() bool {
	switch {
	case r.Method == http.MethodHead || r.Method == http.MethodOptions:
		return false
	case len(r.Header["Upgrade"]) > 0 || len(r.Header["Sec-Websocket-Key"]) > 0:
		return false // an answer is a connection, or none
	case httpx.IsGRPC(r.Header) || httpx.IsGRPCWeb(r.Header):
		return false // 202 means nothing to its clients
	}
	return r.Route.Policy.Queue.When == policies.QueueAlways || httpx.ParsePrefer(r.Header["Prefer"]).RespondAsync
}

// Enqueue stores the job, and answers 202 only then.
func (b liveBackends) Enqueue(r *Request) *Answer {
	if err := r.cameBack(); err != nil {
		return answerTo(asAnswer(err))
	}
	spec, refusal := r.jobSpec()
	if refusal != nil {
		return refusal
	}
	taken, err := b.parts.Jobs.Take(r, r.Route.Policy.Queue.Name, spec)
	if err != nil {
		return r.notTaken(err)
	}
	r.job, r.queue = taken.ID, r.Route.Policy.Queue.Name
	job := jobs.Job{ID: taken.ID, Status: jobs.Queued, Created: b.parts.Now(), Estimate: taken.Estimate}
	if taken.Existing {
		if job, err = b.parts.Jobs.Get(r, taken.ID); err != nil {
			return jobsAway(err)
		}
	}
	return b.jobAnswer(http.StatusAccepted, job).with("Location", b.jobURL(taken.ID)).with("Preference-Applied", "respond-async")
}

// jobSpec makes a job of the request, or says why there is none.
func (r *Request) jobSpec() (spec jobs.Spec, refusal *Answer) {
	rt := r.Route
	key, err := idempotencyKey(r.Header["Idempotency-Key"])
	if err != nil {
		return spec, malformedKey(err)
	}
	most := rt.pipeline.policy.Queues[rt.Policy.Queue.Name].MaxBody
	if r.ContentLength > most {
		return spec, bodyTooLarge(most)
	}
	path, refusal := rt.jobPath(r)
	if refusal != nil {
		return spec, refusal
	}
	body, refusal := r.wholeBody(most)
	if refusal != nil {
		return spec, refusal
	}
	return jobs.Spec{
		Method: r.Method, URL: path, Upstream: rt.Policy.Upstream, Route: rt.Name, Scheme: r.Scheme, Host: r.Authority,
		Header: r.jobHeader(), Body: body, Owner: r.asker(), Key: key,
	}, nil
}

func malformedKey(err error) *Answer {
	return refuse(http.StatusBadRequest, "The Idempotency-Key is malformed: "+err.Error()+".")
}

// jobPath returns path and query as the app is sent them.
func (rt *Route) jobPath(r *Request) (string, *Answer) {
	forwarded, err := r.forwardedPath()
	if err != nil {
		return "", ambiguousRewrite(err)
	}
	path := forwarded.RawPath
	if r.Query != "" || r.http.URL.ForceQuery {
		path += "?" + r.Query
	}
	return path, nil
}

// wholeBody reads the request's body into memory: a job is stored only as a whole.
func (r *Request) wholeBody(most int64) ([]byte, *Answer) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	var body bytes.Buffer
	if r.ContentLength > 0 {
		body.Grow(int(r.ContentLength))
	}
	n, err := body.ReadFrom(io.LimitReader(r.http.Body, most+1))
	var tooLarge *http.MaxBytesError
	switch {
	case n > most:
		return nil, bodyTooLarge(most)
	case err == nil:
		return body.Bytes(), nil
	case errors.As(err, &tooLarge):
		return nil, bodyTooLarge(tooLarge.Limit).because(err)
	}
	if refusal := refusalOf(r.http, err); refusal != nil {
		return nil, refuse(refusal.Status, "The request is refused: "+refusal.Reason+".").because(err)
	}
	if r.Err() != nil {
		err = context.Cause(r)
	}
	return nil, refuse(proxy.StatusClientGone, "The client left before its request was complete.").because(err)
}

// unstored are the fields of a request that a job is stored without: what proves who sends it, and what is about this
// exchange alone. Accept-Encoding is, as who asks for the result may accept something else.
var unstored = []string{
	"Cookie", "Cookie2", "Authorization", "Proxy-Authorization",
	"X-Api-Key", "Api-Key", "Apikey", "X-Auth-Token", "X-Access-Token",
	"Idempotency-Key", "Prefer", "Expect", "Accept-Encoding", "Content-Length", "Max-Forwards",
}

// jobHeader returns the fields that the app is going to see: the request's, less what is not stored, and who asks.
func (r *Request) jobHeader() http.Header {
	h := r.Header.Clone()
	for name := range h {
		if slices.Contains(unstored, canonicalSpelling(name)) {
			delete(h, name)
		}
	}
	session.StripReserved(h)
	proxy.StripForwarding(h)
	if live := r.Session.Session(); live != nil && live.User != "" {
		h.Set(session.HeaderUser, live.UserAsSent())
	}
	if r.Client != nil {
		h.Set(headerClient, r.Client.Name)
	}
	h.Set(headerAsked, r.Info.Addr.String())
	return h
}

// canonicalSpelling is the name in its usual form: to CGI, WSGI and others X_Api_Key is X-Api-Key as well.
func canonicalSpelling(name string) string {
	return http.CanonicalHeaderKey(strings.Map(func(r rune) rune {
		if r == '_' || r == '.' {
			return '-'
		}
		return r
	}, name))
}

// headerAsked keeps the address that asked in a stored job. The app is told it as any request's.
const headerAsked = "X-Forwarded-For"

// asker is who asks: a job belongs to who has asked for it.
func (r *Request) asker() (o jobs.Owner) {
	if live := r.Session.Session(); live != nil && live.User != "" {
		o.User, o.Host = live.User, live.Host
	}
	if r.Client != nil {
		o.Client = r.Client.Name
	}
	o.Addr = r.Info.Bucket
	return o
}

// notTaken says to the client why there is no job.
func (r *Request) notTaken(err error) *Answer {
	var full *jobs.FullError
	switch {
	case errors.As(err, &full):
		return refuse(http.StatusTooManyRequests, "The queue is full.").with("Retry-After", wholeSeconds(full.RetryAfter)).because(err)
	case errors.Is(err, jobs.ErrConflict):
		return refuse(http.StatusUnprocessableEntity, "The Idempotency-Key has been used with another request.").because(err)
	case errors.Is(err, jobs.ErrSpec):
		return refuse(http.StatusBadRequest, "The request can't be kept as a job.").because(err)
	case errors.Is(err, jobs.ErrTooLarge):
		return bodyTooLarge(r.pipeline.policy.Queues[r.Route.Policy.Queue.Name].MaxBody).because(err)
	case errors.Is(err, context.Canceled):
		return refuse(proxy.StatusClientGone, "").because(err)
	}
	return refuse(http.StatusServiceUnavailable, "The job can't be stored at the moment.").with("Retry-After", "1").because(err)
}

// wholeSeconds writes a duration as Retry-After has it, one second at least.
func wholeSeconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}

// explainQueue says what the route's queue does with the request.
func explainQueue(r *Request, e *Explanation) {
	q := r.Route.Policy.Queue
	e.Queue = q.Name
	switch {
	case r.becomesJob():
	case q.When == policies.QueueAsked && !httpx.ParsePrefer(r.Header["Prefer"]).RespondAsync:
		e.Queue += ": not asked for by Prefer: respond-async, and forwarded"
	default:
		e.Queue += ": HEAD, OPTIONS, upgrades and gRPC are forwarded"
	}
}
