package proxy

import (
	"errors"
	"net/http"
	"time"
)

// roundTrip sends the request to a server, and to another
// if that one fails and the request may be tried again.
func (tx *transaction) roundTrip() (*http.Response, *Error) {
	cfg := &tx.pool.cfg
	tx.up.budget.earn(cfg.RetryBudget)
	tx.idempotent = cfg.Retry.allows(tx.out)
	tx.body.init(tx, tx.out, tx.idempotent && cfg.Retries > 0 || tx.pool.mayBeHTTP2())
	if failure := tx.readRequest(); failure != nil {
		return nil, failure
	}
	tx.clock.start(tx.timeout(), cfg.Retry.TryTimeout)

	a, failure := tx.enter()
	if failure != nil {
		return nil, failure
	}
	cfg = &tx.pool.cfg // the configuration may have changed while the request waited
	tx.body.mayBlock()
	for {
		res, failure := a.try(tx.out)
		if failure == nil && !cfg.Retry.retriesStatus(res.StatusCode) {
			a.answered()
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

// begin takes a place on a server, for the request's next attempt.
func (tx *transaction) begin() (*attempt, choice) {
	now := tx.up.now()
	m, trial, why := tx.pool.choose(tx.up.tick(now), tx.balanceKey, tx.tried, tx.mayBeTrial())
	if tx.pool.cfg.MaxConnections > 0 {
		tx.up.wake() // choose may have held another place for a moment, in which a request of the line missed it
	}
	if why != chosen {
		return nil, why
	}
	return tx.start(m, trial, now), chosen
}

// mayBeTrial reports whether the next attempt may be a half-open breaker's trial, since the request can be retried.
func (tx *transaction) mayBeTrial() bool {
	return tx.idempotent && tx.pool.cfg.Retries > tx.retries
}

// start makes the attempt that has a place on a server.
func (tx *transaction) start(m *member, trial bool, now time.Time) *attempt {
	a := &tx.first
	if tx.attempts > 0 {
		a = new(attempt)
	}
	a.tx, a.server, a.transport, a.trial, a.started = tx, m.server, m.transport, trial, now
	a.began = tx.clock.startTry()
	tx.attempts++
	tx.current = a
	return a
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
		return tx.newError(KindClosed, http.StatusServiceUnavailable, errors.New("every server has weight 0: it is drained"))
	case why == overloaded && len(tx.pool.members) > 0:
		return tx.newError(KindOverloaded, http.StatusServiceUnavailable,
			errOverloaded)
	}
	return tx.newError(KindClosed, http.StatusServiceUnavailable, errors.New("the upstream is closed"))
}
