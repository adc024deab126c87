package ratelimit

import (
	"fmt"
	"net/http"

	"github.com/headgate/headgate/internal/httpx"
)

// A limit of zero requests, its own or a plan's, is closed: it denies always, with 403 and
// the reason, since to come back later is of no use. No counter, no ban and no round trip to
// Redis has a part in it, whatever the algorithm.

// closed decides the items whose limit is closed, and reports whether one denies the request.
func (l *Limiter) closed(res *Result) bool {
	if !l.closes {
		return false
	}
	for i := range res.items {
		if it := &res.items[i]; it.closes() && !it.limit.DryRun {
			res.allowed, res.closed = false, true
		}
	}
	return res.closed
}

// closes reports whether the item's limit is closed, and decides the item if it is.
func (it *item) closes() bool {
	if it.variant.requests > 0 {
		return false
	}
	it.asks, it.source = false, FromPolicy
	it.decide(Decision{Closed: true})
	return true
}

// Closed reports that the request is denied because a limit admits no requests at all: the
// response is 403.
func (r *Result) Closed() bool { return r.closed }

// Status is that of the response to a request that is not allowed: 429; 403 where a limit is
// closed; 503 where Redis is away and a limit is [Closed].
func (r *Result) Status() int {
	switch {
	case r.unavailable:
		return http.StatusServiceUnavailable
	case r.closed:
		return http.StatusForbidden
	}
	return http.StatusTooManyRequests
}

// Reason says to the client why the request is denied, where a limit is closed; else "".
func (r *Result) Reason() string {
	if !r.closed {
		return ""
	}
	return r.first.variant.reason
}

// closedReason is what a closed limit says; plan is "" for its own size.
func closedReason(limit, plan string) string {
	if plan == "" {
		return fmt.Sprintf("The limit %q admits no requests.", limit)
	}
	return fmt.Sprintf("The limit %q admits no requests on the plan %q.", limit, plan)
}

// closedBody is the response of a closed limit.
func closedBody(reason string) *httpx.RenderedProblem {
	return httpx.Problem{Type: "about:blank", Status: http.StatusForbidden, Detail: reason}.Render()
}
