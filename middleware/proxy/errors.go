package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/labstack/echo/v4"
)

// Kind says what kept a request from being answered by a server.
type Kind string

const (
	KindConnect      Kind = "connect"        // no connection could be established
	KindTimeout      Kind = "timeout"        // no response header in time, or silence within the body
	KindBroken       Kind = "broken"         // the connection broke, or what came was not HTTP
	KindTruncated    Kind = "truncated"      // the response's body broke off
	KindStatus       Kind = "status"         // an answer whose status counts as a failure
	KindOverloaded   Kind = "overloaded"     // every server stayed at MaxConnections, or too many requests wait
	KindClientGone   Kind = "client_gone"    // the client went away
	KindBodyTooLarge Kind = "body_too_large" // the request's body is over the route's limit
	KindBadRequest   Kind = "bad_request"    // the request's body is malformed, or the request can't be forwarded
	KindSlowRequest  Kind = "slow_request"   // the client took too long over the request's body
	KindRefused      Kind = "refused"        // RouteOptions.ModifyResponse refused the response
	KindDeadline     Kind = "deadline"       // the deadline of the request's own context has passed
	KindLoop         Kind = "loop"           // the request has been forwarded by this gateway before
	KindClosed       Kind = "closed"         // the upstream was closed, or all its servers are drained
)

// StatusClientGone is what is logged for a client that went away before it
// was answered. nginx uses the same; no client ever receives it.
const StatusClientGone = 499

// Error says why a request got no answer from an upstream. Nothing has been
// written to the client when it is handed over.
type Error struct {
	// Status is the answer that the client should get.
	Status int
	Kind   Kind
	// Upstream is the upstream's name; Server the URL of the server that was
	// tried last, empty if none was.
	Upstream string
	Server   string
	// Err is the cause; it may be nil. It can contain addresses of servers and
	// must not be sent to the client.
	Err error
}

func (e *Error) Error() string {
	where := "upstream " + e.Upstream
	if e.Server != "" {
		where += ", server " + e.Server
	}
	if e.Err == nil {
		return fmt.Sprintf("%s: %s (%d)", where, e.Kind, e.Status)
	}
	return fmt.Sprintf("%s: %s (%d): %v", where, e.Kind, e.Status, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Detail is one sentence for the body of the response. It says what went wrong
// and names no server.
func (e *Error) Detail() string {
	switch e.Kind {
	case KindTimeout:
		return "The app server did not answer in time."
	case KindOverloaded:
		return "All app servers are at their limit of connections."
	case KindBodyTooLarge:
		return "The request body is larger than is allowed here."
	case KindBadRequest:
		return "The request is malformed, or cannot be forwarded."
	case KindSlowRequest:
		return "The request body did not arrive in time."
	case KindClientGone:
		return "The client left before it was answered."
	case KindLoop:
		return "The request has come back to the gateway that forwarded it: the upstream leads to the gateway itself."
	case KindRefused:
		return "The app server's response was refused."
	}
	return "No app server could answer."
}

// RetryAfter is the number of seconds after which the client may try again,
// for the Retry-After field of the response. Zero: the response has none.
func (e *Error) RetryAfter() int64 {
	if e.Status == http.StatusServiceUnavailable {
		return 1
	}
	return 0
}

// blamesServer reports whether a failure says something about the server,
// rather than about the client or the gateway.
func (k Kind) blamesServer() bool {
	switch k {
	case KindConnect, KindTimeout, KindBroken, KindTruncated, KindStatus:
		return true
	}
	return false
}

// failedConnection reports whether a failure of a server is one of its connection: none could be established, or it broke.
func (k Kind) failedConnection() bool {
	switch k {
	case KindConnect, KindBroken, KindTruncated:
		return true
	}
	return false
}

// classifyRequestBody says what a failure to read the client's body means.
func classifyRequestBody(err error) (Kind, int) {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge), errors.Is(err, echo.ErrStatusRequestEntityTooLarge): // Echo's BodyLimit
		return KindBodyTooLarge, http.StatusRequestEntityTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return KindSlowRequest, http.StatusRequestTimeout
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.Canceled), isNetError(err):
		return KindClientGone, StatusClientGone
	default: // a bad chunk, an over-long trailer
		return KindBadRequest, http.StatusBadRequest
	}
}

// classifyContext says what the end of a request's context means.
func classifyContext(err error) (Kind, int) {
	if errors.Is(err, context.DeadlineExceeded) {
		return KindDeadline, http.StatusGatewayTimeout
	}
	return KindClientGone, StatusClientGone
}

func isNetError(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
