package ratelimit

import (
	"net/http"
	"strconv"

	"github.com/headgate/headgate/internal/httpx"
)

// problemBody is a denial as RFC 9457 has it, of the type that
// draft-ietf-httpapi-ratelimit-headers registers.
func problemBody(violated ...string) *httpx.RenderedProblem {
	return httpx.Problem{
		Type:     "https://iana.org/assignments/http-problem-types#quota-exceeded",
		Title:    "Request cannot be satisfied as assigned quota has been exceeded",
		Status:   http.StatusTooManyRequests,
		Violated: violated,
	}.Render()
}

// unavailable is the answer where Redis is away and a limit is Closed.
var unavailable = httpx.Problem{
	Type: "about:blank", Status: http.StatusServiceUnavailable, Detail: "rate limits cannot be checked at the moment",
}.Render()

// RetryAfter returns the seconds after which every limit that denies the
// request would admit it, if no other request consumes meanwhile; 0 where one is closed.
func (r *Result) RetryAfter() int64 {
	switch {
	case r.unavailable:
		return 1
	case r.closed:
		return 0
	}
	return Seconds(r.retryAfter)
}

// Deny writes the response to a request that is not allowed: 429 with the limits'
// fields, 403 where a limit is closed, or 503 where Redis is away and a limit is Closed. Header fields that w
// has already, such as those of CORS, stay.
func (r *Result) Deny(w http.ResponseWriter, req *http.Request) {
	body, retryAfter := r.body(), ""
	if seconds := r.RetryAfter(); seconds > 0 {
		retryAfter = strconv.FormatInt(seconds, 10)
	}
	h := w.Header()
	delete(h, "Cache-Control") // an earlier handler meant it for another response
	r.WriteHeaders(h)
	body.SetHeader(h, retryAfter)
	body.Send(w, req)
}

func (r *Result) body() *httpx.RenderedProblem {
	if r.unavailable {
		return unavailable
	}
	if r.closed {
		return r.first.variant.refusal
	}
	if r.denying == 1 {
		for i, b := range r.limiter.limits {
			if b == r.first.limit {
				return r.limiter.denials[i]
			}
		}
	}
	var names []string
	for i := range r.items {
		if it := &r.items[i]; it.vetoes() {
			names = append(names, it.limit.Name)
		}
	}
	return problemBody(names...)
}
