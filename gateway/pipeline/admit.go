package pipeline

import (
	"errors"
	"net/http"

	"github.com/headgate/headgate/middleware/ratelimit"
)

// remembered answers a client that is known to be over a limit. That costs Redis
// nothing.
func remembered(r *Request) *Answer {
	r.beginSubject()
	if r.backends.Remembered(r) {
		return r.deny()
	}
	return nil
}

// admit finds the session and has the limits decide.
func admit(r *Request) *Answer {
	r.beginSubject()
	if !r.backends.Admit(r) {
		return r.deny()
	}
	return nil
}

// beginSubject gathers what the limits count by, as far as it is known without a
// session.
func (r *Request) beginSubject() {
	if r.subject.Route != "" {
		return
	}
	r.subject = ratelimit.Request{
		Addr: r.Info.Addr, Bucket: r.Info.Bucket,
		Route: r.Route.Name, Method: r.Method, Host: r.Host, Header: r.Header,
	}
	if r.Client != nil {
		r.subject.Client, r.subject.Plan = r.Client.Name, r.Client.Plan
	}
}

var errNoRedis = errors.New("rate limits cannot be checked without Redis")

// deny is the answer to a request that the limits do not admit.
func (r *Request) deny() *Answer {
	a := Answer{
		Status: http.StatusTooManyRequests, form: asDenial, limits: r.Limits,
		Detail: "Request cannot be satisfied as assigned quota has been exceeded.",
	}
	if r.Limits == nil { // an explanation, which has no Outcome
		a.Detail = r.answer.Detail
	} else if r.Limits.Unavailable() {
		a.Status, a.Detail, a.Cause = http.StatusServiceUnavailable, "Rate limits cannot be checked at the moment.", errNoRedis
	}
	return r.answered(a)
}

// answered keeps an answer in the request, which saves its memory where most answers
// are given: to clients that are over a limit.
func (r *Request) answered(a Answer) *Answer {
	r.answer = a
	return &r.answer
}
