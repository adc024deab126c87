package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"time"
)

// maxInterim bounds the 1xx responses that are passed on for one request.
const maxInterim = 32

// errSilent is why an attempt is cancelled whose server does not answer.
var errSilent = errors.New("the server did not answer in time")

// headerListTooLarge is the one failure of a connected request that is the
// client's fault and not its body's: the server has said how large a header it
// takes over HTTP/2. net/http does not export the error.
const headerListTooLarge = "http2: request header list larger than peer's advertised limit"

// attempt is one try of a request at one server.
type attempt struct {
	tx        *transaction
	server    *server
	transport http.RoundTripper
	trial     bool // the half-open breaker's
	started   time.Time
	trace     httptrace.ClientTrace
	cancel    context.CancelCauseFunc
	timeout   time.Duration

	header  time.Duration // from started to the response's header or the failure
	status  int
	kind    Kind // empty while all is well
	settled bool

	mu        sync.Mutex
	timer     *time.Timer // fires when the server has been silent for too long
	over      bool        // RoundTrip has returned: nothing may be written or timed any more
	connected bool
	interim   int // 1xx responses passed on
}

// roundTrip sends the request to a server and waits for the response's header.
func (a *attempt) roundTrip(out *http.Request) (*http.Response, error) {
	a.trace = httptrace.ClientTrace{GotConn: a.gotConn, Got1xxResponse: a.got1xx}
	// Not on top of out's context: ReverseProxy has put its own trace there,
	// which would drop the response headers that are set already when it
	// passes a 1xx on.
	ctx, cancel := context.WithCancelCause(&a.tx.ctx)
	a.cancel = cancel
	req := out.WithContext(httptrace.WithClientTrace(ctx, &a.trace))
	if a != &a.tx.first {
		// The attempt before may still be writing its own.
		target := *req.URL
		req.URL = &target
	}
	req.URL.Scheme, req.URL.Host = a.server.url.Scheme, a.server.url.Host
	a.tx.body.attach(a, req)
	res, err := a.transport.RoundTrip(req)

	a.mu.Lock()
	a.over = true
	if a.timer != nil {
		a.timer.Stop()
	}
	a.mu.Unlock()
	a.header = a.tx.up.now().Sub(a.started)
	if err == nil {
		a.status = res.StatusCode
		return res, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return nil, err
}

// gotConn runs when the request has a connection: from here on it is the
// server's turn.
func (a *attempt) gotConn(httptrace.GotConnInfo) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.connected = true
	switch {
	case a.over || a.timeout <= 0:
	case a.timer == nil:
		a.timer = time.AfterFunc(a.timeout, a.expire)
	default:
		a.timer.Reset(a.timeout) // a stale connection was replaced
	}
}

func (a *attempt) expire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.over {
		a.cancel(errSilent)
	}
}

// clientsTurn and serversTurn stop and restart the clock around a read from
// the client's body.
func (a *attempt) clientsTurn() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
	}
}

func (a *attempt) serversTurn() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil && !a.over {
		a.timer.Reset(a.timeout)
	}
}

// got1xx passes an interim response on.
func (a *attempt) got1xx(code int, header textproto.MIMEHeader) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	// net/http sends 100 (Continue) itself as the body is first read, and an
	// HTTP/1.0 client would take any for the response (RFC 9110 section 15.2).
	if a.over || code == http.StatusContinue || !a.tx.in.ProtoAtLeast(1, 1) {
		return nil
	}
	if a.interim++; a.interim > maxInterim {
		return fmt.Errorf("over %d interim responses", maxInterim)
	}
	a.tx.rw.writeInterim(code, http.Header(header))
	return nil
}

// judge turns what went wrong into an Error.
func (a *attempt) judge(err error) *Error {
	tx := a.tx
	kind, status := KindBroken, http.StatusBadGateway
	if bodyErr := tx.body.failure(); bodyErr != nil {
		err = bodyErr
		kind, status = classifyRequestBody(bodyErr)
	} else if ctxErr := tx.in.Context().Err(); ctxErr != nil {
		kind, status = KindClientGone, StatusClientGone
		if errors.Is(ctxErr, context.DeadlineExceeded) {
			kind, status = KindDeadline, http.StatusGatewayTimeout
		}
	} else if !a.connected {
		kind = KindConnect
		if isTimeout(err) {
			status = http.StatusGatewayTimeout
		}
	} else if errors.Is(err, errSilent) {
		kind, status = KindTimeout, http.StatusGatewayTimeout
	} else if err.Error() == headerListTooLarge {
		kind, status = KindBadRequest, http.StatusRequestHeaderFieldsTooLarge
	}
	a.kind = kind
	return tx.newError(kind, status, err)
}

// answered ends a trial at the response's header: its body may be a stream
// that goes on for hours.
func (a *attempt) answered() {
	if !a.trial || a.failedByStatus() {
		return
	}
	a.trial = false
	a.tx.up.passedTrial(a.tx.pool, a.server)
	a.server.breaker.endTrial()
}

// failedByStatus reports whether the response's status counts as a failure.
func (a *attempt) failedByStatus() bool {
	return failureStatus(a.status)
}

// settle gives the server its place back and says what became of the attempt.
// Only the first call counts.
func (a *attempt) settle(kind Kind, cause error) {
	if a.settled {
		return
	}
	a.settled = true
	a.cancel(nil)
	tx := a.tx
	if kind == "" && a.failedByStatus() {
		kind = KindStatus
	}
	switch {
	case kind == KindStatus:
		tx.up.failed(tx.pool, a.server, a.trial, fmt.Sprintf("status %d", a.status))
	case kind.blamesServer():
		tx.up.failed(tx.pool, a.server, a.trial, cause.Error())
	case kind == "" || kind == KindRefused:
		a.server.breaker.success()
	}
	if a.trial {
		a.server.breaker.endTrial()
	}
	a.server.release()
	if observe := tx.up.options.Observer; observe != nil {
		observe(Attempt{Upstream: tx.up.name, Server: a.server.name, Kind: kind, Status: a.status,
			Header: a.header, Retry: a != &tx.first})
	}
}
