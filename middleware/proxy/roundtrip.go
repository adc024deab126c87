package proxy

import (
	"cmp"
	"errors"
	"net/http"
)

// roundTrip sends the request to a server, and to another
// if that one fails and the request may be tried again.
func (tx *transaction) roundTrip() (*http.Response, *Error) {
	cfg := &tx.pool.cfg
	tx.idempotent = cfg.Retry.allows(tx.out)
	tx.up.budget.earn(cfg.RetryBudget)
	if tx.out.Body != nil {
		if failure := tx.takeBody(); failure != nil {
			return nil, failure
		}
	}
	tx.clock.start(cmp.Or(tx.route.Timeout, cfg.Timeout), cfg.Retry.TryTimeout)

	a, failure := tx.enter()
	if failure != nil {
		return nil, failure
	}
	cfg = &tx.pool.cfg // the configuration may have changed while the request waited
	if tx.body.source != nil {
		tx.body.mayBlock()
	}
	for {
		res, failure := a.try(tx.out)
		if failure == nil && !cfg.Retry.retriesStatus(res.StatusCode) {
			if a.trial || a.server.breaker.failing.Load() {
				a.answered()
			}
			return res, nil
		}
		next := tx.another(a, failure)
		switch {
		case next == nil && failure == nil:
			return res, nil // the best that there is
		case failure != nil:
			a.settle(failure.Kind, failure.Err)
			if next == nil {
				return nil, failure
			}
		default:
			res.Body.Close()
			a.settle(KindStatus, nil)
		}
		a = next
	}
}

// another begins the attempt that follows a failed one, or returns nil if
// there may be none. failure is nil if the server did answer.
func (tx *transaction) another(a *attempt, failure *Error) *attempt {
	if !tx.repeatable(a, failure) || !tx.mayRepeat(a) {
		return nil
	}
	if !tx.up.budget.spend() {
		return nil
	}
	tx.tried = append(tx.tried, a.server)
	next, _ := tx.begin()
	if next == nil && (a.lost || a.unprocessed) && !tx.again {
		// No other server is left, and this one may be well: it has closed a connection.
		tx.tried, tx.again = tx.tried[:len(tx.tried)-1], true
		if next, _ = tx.begin(); next != nil {
			next.fresh = true
		}
	}
	if next == nil {
		tx.up.budget.refund()
	} else if !a.unprocessed {
		tx.retries++
	}
	return next
}

// mayRepeat reports whether the number of attempts allows for another. What a server has not processed may go to each of the others.
func (tx *transaction) mayRepeat(a *attempt) bool {
	return a.unprocessed && tx.attempts <= tx.pool.cfg.Retries+len(tx.pool.members) || tx.retries < tx.pool.cfg.Retries
}

// repeatable reports whether a second attempt can neither do harm nor reach
// the client twice.
func (tx *transaction) repeatable(a *attempt, failure *Error) bool {
	switch {
	case failure != nil && !tx.pool.cfg.Retry.retriesFailure(a, failure.Kind):
		return false
	case tx.in.Context().Err() != nil || tx.clock.passed():
		return false
	case a.interim > 0: // the response has begun, if only just
		return false
	case !tx.body.rewindable():
		return false
	}
	// RFC 9110 section 9.2.2: a proxy must not repeat what is not idempotent.
	// What never left, or was not processed, is not repeated.
	return tx.idempotent || a.unprocessed || failure != nil && failure.Kind == KindConnect
}

// unavailable says why there is no server for the request.
func (tx *transaction) unavailable(why choice) *Error {
	switch {
	case len(tx.pool.members) > 0 && tx.pool.drained():
		return tx.newError(KindClosed, http.StatusServiceUnavailable, errors.New("every server is drained"))
	case why == overloaded && len(tx.pool.members) > 0:
		return tx.newError(KindOverloaded, http.StatusServiceUnavailable,
			errOverloaded)
	}
	return tx.newError(KindClosed, http.StatusServiceUnavailable, errors.New("the upstream is closed"))
}
