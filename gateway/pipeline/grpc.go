package pipeline

import (
	"net/http"
	"strconv"
	"time"

	"github.com/headgate/headgate/internal/httpx"
)

// What a gRPC client learns from the gateway's own answers. Given problem
// details with an HTTP status, gRPC libraries guess a code and show the user
// "unexpected content-type"; a body they do not read. So the answer is one that
// the protocol has for it: Trailers-Only, a header section with grpc-status.

// setGRPC adds to a refusal what a gRPC client reads, whatever form the refusal has for others.
func (a *Answer) setGRPC(r *Request) {
	h := r.echo.Response().Header()
	code := httpx.GRPCStatus(a.Status)
	if code == httpx.GRPCUnavailable && r.pastGRPCDeadline() {
		code = httpx.GRPCDeadlineExceeded // the app server ended the call at the client's own deadline
	}
	h.Set("Grpc-Status", strconv.Itoa(code))
	message := a.Detail
	if message == "" {
		message = httpx.StatusText(a.Status)
	}
	h.Set("Grpc-Message", httpx.GRPCMessage(message))
	if a.form == asDenial {
		if seconds := a.limits.RetryAfter(); seconds > 0 {
			h.Set("Retry-After", strconv.FormatInt(seconds, 10))
		}
	}
	// gRFC A6: clients that retry wait for this long, and not as they see fit.
	if seconds, err := strconv.ParseInt(h.Get("Retry-After"), 10, 32); err == nil {
		h.Set("Grpc-Retry-Pushback-Ms", strconv.FormatInt(1000*seconds, 10))
	}
}

// writeGRPC sends a refusal to a gRPC client, when setGRPC has said why. Over HTTP/1, which gRPC does not have, the refusal keeps
// its own status and form, for what stands between. Access log and metrics go by the answer's HTTP status all the
// same: an outage is to be seen there whatever is spoken.
func (a *Answer) writeGRPC(r *Request) {
	r.status = a.Status
	h := r.echo.Response().Header()
	if a.form == asDenial {
		a.limits.WriteHeaders(h)
	}
	h.Del("Content-Encoding")
	h.Set("Content-Type", "application/grpc")
	r.echo.Response().WriteHeader(http.StatusOK)
}

// pastGRPCDeadline reports whether the time is over that the client has given the call
// by grpc-timeout: at most eight digits and a unit.
func (r *Request) pastGRPCDeadline() bool {
	units := map[byte]time.Duration{
		'H': time.Hour, 'M': time.Minute, 'S': time.Second,
		'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
	}
	value := r.Header.Get("Grpc-Timeout")
	if len(value) < 2 || len(value) > 9 {
		return false
	}
	n, err := strconv.ParseUint(value[:len(value)-1], 10, 32)
	unit, known := units[value[len(value)-1]]
	return err == nil && known && r.pipeline.parts.Now().Sub(r.start) >= time.Duration(n)*unit
}
