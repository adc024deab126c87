package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/middleware/proxy/internal/http1client"
)

// headerListTooLarge is the one failure of a connected request that is the
// client's fault and not its body's: the server has said how large a header it
// takes over HTTP/2. net/http does not export the error.
const headerListTooLarge = "http2: request header list larger than peer's advertised limit"

// attempt is one try of a request at one server.
type attempt struct {
	tx        *transaction
	server    *server
	transport *serverTransport
	trial     bool // the half-open breaker's
	fresh     bool // it needs a connection that has not been used
	started   time.Time
	began     int64 // the same by the transaction's clock

	header    time.Duration // from started to the response's header or the failure
	status    int
	kind      Kind          // empty while all is well
	silence   time.Duration // how long the server may be silent within the response's body; 0: no bound
	connected bool
	settled   bool
	left      atomic.Bool // the server has its place back
	body      io.Closer   // of the response

	lost        bool // the server has closed a used connection without a byte of a response
	unprocessed bool // the server has said that it has done nothing about the request

	overHTTP2 *cancelable // nil over HTTP/1

	mu      sync.Mutex
	over    bool // roundTrip has returned: nothing may be written any more
	interim int  // 1xx responses passed on
}

// begin takes a place on a server, for the request's next attempt.
func (tx *transaction) begin() (*attempt, choice) {
	mayBeTrial, now := tx.mayBeTrial(), tx.up.now()
	m, trial, why := tx.pool.choose(tx.up.tick(now), &tx.affinity, tx.tried, mayBeTrial)
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
	if tx.clock.try > 0 {
		a.began = tx.clock.startTry()
	}
	tx.attempts++
	tx.current = a
	return a
}

// try sends the request to a server, and returns its response, or why there is none that can be passed on.
func (a *attempt) try(out *http.Request) (*http.Response, *Error) {
	res, err := a.roundTrip(out)
	if err == nil && a.tx.holds(res) {
		if err = a.tx.held.hold(res); err == nil {
			a.body = nil // it has come to its end
		}
	}
	if err != nil {
		return nil, a.judge(err)
	}
	return res, nil
}

// roundTrip sends the request to a server and waits for the response's header.
func (a *attempt) roundTrip(out *http.Request) (*http.Response, error) {
	req := out
	if a != &a.tx.first {
		// The attempt before may still be writing its own.
		req = out.WithContext(out.Context())
		target := *req.URL
		req.URL = &target
	}
	req.URL.Scheme, req.URL.Host = a.server.url.Scheme, a.server.url.Host
	if a.tx.serversHost {
		req.Host = a.server.url.Host
	}
	res, err := a.send(req)

	a.mu.Lock()
	a.over = true
	a.mu.Unlock()
	a.header = a.tx.up.now().Sub(a.started)
	if err != nil {
		return nil, err
	}
	a.status, a.body = res.StatusCode, res.Body
	return res, nil
}

// send sends the request over the server's transport, or the one that a test has put in its place.
func (a *attempt) send(req *http.Request) (*http.Response, error) {
	if test := a.tx.up.testTransport; test != nil {
		return a.cancelably(req, test.RoundTrip)
	}
	if a.transport.http2 == nil { // so it is with most
		return a.over1(req)
	}
	return a.transport.choose(req, a.over1, a.over2)
}

// judge turns what went wrong into an Error.
func (a *attempt) judge(err error) *Error {
	tx := a.tx
	kind, status := KindBroken, http.StatusBadGateway
	if bodyErr := tx.body.failure(); bodyErr != nil {
		err = bodyErr
		kind, status = classifyRequestBody(bodyErr)
	} else if ctxErr := tx.in.Context().Err(); ctxErr != nil {
		kind, status = classifyContext(ctxErr)
	} else if errors.Is(err, errNoHost) {
		kind, status = KindBadRequest, http.StatusBadRequest
	} else if a.status != 0 {
		kind = KindTruncated
		if errors.Is(err, http1client.ErrTimeout) {
			kind, status = KindTimeout, http.StatusGatewayTimeout
		}
	} else if !a.connected {
		kind = KindConnect
		if isTimeout(err) || errors.Is(err, http1client.ErrTimeout) {
			status = http.StatusGatewayTimeout
		}
	} else if errors.Is(err, http1client.ErrTimeout) {
		kind, status = KindTimeout, http.StatusGatewayTimeout
	} else if err.Error() == headerListTooLarge {
		kind, status = KindBadRequest, http.StatusRequestHeaderFieldsTooLarge
	}
	a.kind, a.unprocessed = kind, notProcessed(err)
	return tx.newError(kind, status, err)
}

// answered ends a trial, and the mark of a server that can't be ejected, at the
// response's header: its body may be a stream that goes on for hours.
func (a *attempt) answered() {
	if a.failedByStatus() {
		return
	}
	a.tx.up.answers(a.server)
	if !a.trial {
		return
	}
	a.trial = false
	a.tx.up.passedTrial(a.tx.pool, a.server)
	a.server.breaker.endTrial()
	a.tx.up.wake()
}

// failedByStatus reports whether the response's status counts as a failure.
func (a *attempt) failedByStatus() bool {
	return failureStatus(a.status)
}

// leave gives the server its place back: the request and the response are whole, or
// the attempt is over.
func (a *attempt) leave() {
	if a.left.CompareAndSwap(false, true) {
		a.server.release()
		a.tx.up.wake()
	}
}

// interrupt ends a read of the response's body that is under way.
func (a *attempt) interrupt() {
	if a.overHTTP2 != nil {
		a.overHTTP2.cancel(nil)
		return
	}
	if body, ok := a.body.(interface{ Interrupt() }); ok {
		body.Interrupt()
	}
}

// settle gives the server its place back and says what became of the attempt.
// Only the first call counts.
func (a *attempt) settle(kind Kind, cause error) {
	if a.settled {
		return
	}
	a.settled = true
	if a.body != nil {
		a.body.Close()
	}
	if a.overHTTP2 != nil {
		a.overHTTP2.cancel(nil)
	}
	tx := a.tx
	if kind == "" && a.failedByStatus() {
		kind = KindStatus
	}
	switch {
	case kind == "" || kind == KindRefused || kind == KindStatus && !a.failedByStatus(): // a status that is retried need not be a failure
		a.server.breaker.success()
		if a.server.breaker.failing.Load() {
			tx.up.answers(a.server)
		}
	case kind == KindStatus:
		tx.up.failed(tx.pool, a.server, a.trial, kind, fmt.Sprintf("status %d", a.status))
	case a.unprocessed:
	case kind == KindTimeout && !a.trial:
		a.server.breaker.timeouts.Add(1)
	case kind.blamesServer():
		tx.up.failed(tx.pool, a.server, a.trial, kind, cause.Error())
	}
	if a.trial {
		a.server.breaker.endTrial()
		tx.up.wake() // the place may have been given back before
	}
	a.leave()
	if observe := tx.up.options.Observer; observe != nil {
		observe(Attempt{Upstream: tx.up.name, Server: a.server.name, Kind: kind, Status: a.status,
			Header: a.header, Retry: a != &tx.first})
	}
}
