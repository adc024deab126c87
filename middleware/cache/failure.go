package cache

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"
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
	if t.base != nil && t.base.CoversOutage() && unreachable(err) {
		t.c.unreachable.Add(t.f.Key(), unreachableTTL)
		t.resolve(outcome{kind: staleOnOutage, entry: t.base, status: outcomeStatus{fwd: fwdStale, detail: "unreachable"}})
		return
	}
	if t.base != nil && t.base.NeverStale {
		err = notReused(err)
	}
	o := outcome{kind: failed, err: err, status: outcomeStatus{fwd: t.forward(), detail: "error"}}
	var p *panicError
	if errors.As(err, &p) {
		o.kind, o.err, o.panicked = handlerPanicked, nil, p.value
	}
	if !sharedFailure(err) {
		t.releaseFollowers()
	}
	t.resolve(o)
}

// unreachable reports whether an error means that the origin gave no response,
// and not that something on the way refused the request, or the response.
func unreachable(err error) bool {
	if errors.Is(err, ErrRefused) {
		return false
	}
	var he *echo.HTTPError
	if errors.As(err, &he) {
		return he.Code >= 500
	}
	var p *panicError
	return !errors.As(err, &p)
}

// notReused is the error instead of a stored response that must be validated,
// when the origin cannot be reached: a 504, RFC 9111 section 5.2.2.2.
func notReused(err error) error {
	var he *echo.HTTPError
	if !errors.As(err, &he) || he.Code != http.StatusBadGateway {
		return err
	}
	return echo.NewHTTPError(http.StatusGatewayTimeout, "The stored answer must be validated, and the app server cannot be reached.").SetInternal(fmt.Errorf("cache: a stale answer is not allowed: %w", err))
}

// sharedFailure reports whether an error is given to all requests that wait:
// that the origin cannot be reached holds for all of them, and sending each of
// them there would load the origin further.
func sharedFailure(err error) bool {
	if errors.Is(err, ErrRefused) {
		return false
	}
	var he *echo.HTTPError
	return errors.As(err, &he) && (he.Code == 502 || he.Code == 503 || he.Code == 504)
}
