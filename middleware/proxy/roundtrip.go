package proxy

import (
	"errors"
	"net/http"
	"slices"
)

// balanced is the ReverseProxy's transport: it chooses a server, and another
// if that one fails and the request may be tried again.
type balanced struct{ up *Upstream }

func (t balanced) RoundTrip(out *http.Request) (*http.Response, error) {
	x := exchangeOf(out)
	cfg := &x.pool.cfg
	t.up.budget.earn(cfg.RetryBudget)
	x.idempotent = isIdempotent(out.Method)
	x.body.init(x, out, x.idempotent && cfg.Retries > 0)

	a, why := x.begin()
	if a == nil {
		return nil, x.unavailable(why)
	}
	for {
		res, err := a.roundTrip(out)
		if err == nil && !slices.Contains(cfg.RetryStatuses, res.StatusCode) {
			a.answered()
			return res, nil
		}
		var failure *Error
		if err != nil {
			failure = a.judge(err)
		}
		next := x.another(a, failure)
		switch {
		case next == nil && err == nil:
			return res, nil // the best that there is
		case next == nil:
			a.settle(failure.Kind, err)
			return nil, failure
		case err == nil:
			res.Body.Close()
			a.settle(KindStatus, nil)
		default:
			a.settle(failure.Kind, err)
		}
		a = next
	}
}

// begin takes a place on a server, for the request's next attempt.
func (x *exchange) begin() (*attempt, choice) {
	now := x.up.now()
	left := x.pool.cfg.Retries - x.attempts
	m, trial, why := x.pool.choose(x.up.tick(now), x.balanceKey(), x.tried, x.idempotent && left > 0)
	if why != chosen {
		return nil, why
	}
	a := &x.first
	if x.attempts > 0 {
		a = new(attempt)
	}
	a.x, a.server, a.transport, a.trial, a.started, a.timeout = x, m.server, m.transport, trial, now, x.timeout()
	if x.up.testTransport != nil {
		a.transport = x.up.testTransport
	}
	x.attempts++
	x.current = a
	return a, chosen
}

// another begins the attempt that follows a failed one, or returns nil if
// there may be none. failure is nil if the server did answer.
func (x *exchange) another(a *attempt, failure *Error) *attempt {
	if x.attempts > x.pool.cfg.Retries || !x.repeatable(a, failure) || !x.up.budget.spend() {
		return nil
	}
	x.tried = append(x.tried, a.server)
	next, _ := x.begin()
	if next == nil {
		x.up.budget.refund()
	}
	return next
}

// repeatable reports whether a second attempt can neither do harm nor reach
// the client twice.
func (x *exchange) repeatable(a *attempt, failure *Error) bool {
	switch {
	case failure != nil && !failure.Kind.blamesServer():
		return false
	case x.in.Context().Err() != nil:
		return false
	case a.interim > 0: // the response has begun, if only just
		return false
	case !x.body.rewindable():
		return false
	}
	// RFC 9110 section 9.2.2: a proxy must not repeat what is not idempotent.
	// What never left is not repeated.
	return x.idempotent || failure != nil && (failure.Kind == KindConnect || isDialError(failure.Err))
}

// unavailable says why there is no server for the request.
func (x *exchange) unavailable(why choice) *Error {
	if why == overloaded && len(x.pool.members) > 0 {
		return x.newError(KindOverloaded, http.StatusServiceUnavailable,
			errors.New("every server has as many requests in flight as max_connections allows"))
	}
	return x.newError(KindClosed, http.StatusServiceUnavailable, errors.New("the upstream is closed"))
}

// isIdempotent is RFC 9110 section 9.2.2, and nothing else: what other methods
// mean is the servers' secret.
func isIdempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}
