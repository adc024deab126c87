package cache

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/cache/internal/collapse"
)

// ErrRefused is to be found (errors.Is) in the error of a next handler that had
// a response from the origin and refused it, for reasons of this request. No
// stale response stands in for that, and no other client is given the error.
var ErrRefused = errors.New("cache: the origin's response was refused")

// panicError is what a panic of the next handler becomes until its request has it.
type panicError struct{ value any }

func (p *panicError) Error() string { return "cache: the handler panicked" }

// fail handles a fetch that came to no response: the handler returned an error
// or panicked.
func (t *fetch) fail(err error) {
	if t.f.Resolved() && t.f.Context().Err() != nil {
		return // it was cancelled, as its requests have something else
	}
	f := t.failure(err)
	if t.base != nil && t.base.CoversOutage() && f.unreachable() {
		t.c.unreachable.Add(t.f.Key(), unreachableTTL)
		t.resolve(outcome{kind: staleOnOutage, entry: t.base, status: outcomeStatus{fwd: fwdStale, detail: "unreachable"}})
		return
	}
	if t.base != nil && t.base.NeverStale && f.status == http.StatusBadGateway {
		err = notReused(err)
	}
	o := outcome{kind: failed, err: err, shared: f.shared(), status: outcomeStatus{fwd: t.forward(), detail: "error"}}
	var p *panicError
	if errors.As(err, &p) {
		o.kind, o.err, o.panicked = handlerPanicked, nil, p.value
	}
	if !o.shared {
		t.releaseFollowers()
	}
	t.resolve(o)
}

// failure is an error of the next handler, by the status that its client is given.
type failure struct {
	status   int  // 0: none
	answered bool // the origin has, or the handler has panicked: the error is this request's own
}

func (t *fetch) failure(err error) failure {
	var p *panicError
	switch {
	case errors.Is(err, ErrRefused), errors.As(err, &p):
		return failure{answered: true}
	case errors.Is(err, collapse.ErrAborted): // no error that a handler of errors sees
		return failure{status: http.StatusInternalServerError}
	case t.j.errorStatus != nil:
		return failure{status: t.j.errorStatus(err)}
	}
	return failure{status: t.writtenStatus(err)}
}

// unreachable reports whether the origin gave no response. A 303, 401 or 410 that the app
// makes of an error is its response, and no stale one stands in for it.
func (f failure) unreachable() bool { return !f.answered && f.status >= 500 }

// shared reports whether an error is given to all requests that wait: that the
// origin cannot be reached holds for all of them, and sending each of them there
// would load the origin further.
func (f failure) shared() bool {
	return f.status == http.StatusBadGateway || f.status == http.StatusServiceUnavailable || f.status == http.StatusGatewayTimeout
}

// writtenStatus returns the status that the app's HTTPErrorHandler writes for an error, by
// having it write a response that goes nowhere; 0 where it panics.
func (t *fetch) writtenStatus(err error) (status int) {
	defer func() {
		if recover() != nil {
			status = 0 // it will panic again for the client, where that belongs
		}
	}()
	c := t.newContext(&nowhere{header: make(http.Header)})
	t.j.echo.HTTPErrorHandler(err, c)
	if !c.Response().Committed {
		return http.StatusOK // as net/http responds for a handler that wrote nothing
	}
	return c.Response().Status
}

// nowhere is a response that no client gets.
type nowhere struct{ header http.Header }

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) WriteHeader(int)             {}
func (w *nowhere) Write(p []byte) (int, error) { return len(p), nil }

// notReused is the error instead of a stored response that must be validated,
// when the origin cannot be reached: a 504, RFC 9111 section 5.2.2.2.
func notReused(err error) error {
	return echo.NewHTTPError(http.StatusGatewayTimeout, "The stored answer must be validated, and the app server cannot be reached.").SetInternal(fmt.Errorf("cache: a stale answer is not allowed: %w", err))
}
