package pipeline

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
)

// What a gRPC client learns from the gateway's own answers. Given problem
// details with an HTTP status, gRPC libraries guess a code and show the user
// "unexpected content-type"; a body they do not read. So the answer is one that
// the protocol has for it: Trailers-Only, a header section with grpc-status.

// The codes of https://grpc.io/docs/guides/status-codes/ that the gateway answers with.
const (
	grpcUnknown           = 2
	grpcResourceExhausted = 8
	grpcUnimplemented     = 12
	grpcInternal          = 13
	grpcUnavailable       = 14
	grpcUnauthenticated   = 16
	grpcPermissionDenied  = 7
	grpcDeadlineExceeded  = 4
)

// grpcStatus is gRPC's own mapping of HTTP statuses (http-grpc-status-mapping.md
// in grpc/grpc), so that clients see what they would have concluded by
// themselves. Where it has nothing but UNKNOWN we know better.
func grpcStatus(status int) int {
	switch status {
	case http.StatusBadRequest:
		return grpcInternal
	case http.StatusUnauthorized:
		return grpcUnauthenticated
	case http.StatusForbidden:
		return grpcPermissionDenied
	case http.StatusNotFound:
		return grpcUnimplemented
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return grpcUnavailable

	case http.StatusMethodNotAllowed:
		return grpcUnimplemented
	case http.StatusRequestTimeout:
		return grpcDeadlineExceeded
	case http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge:
		return grpcResourceExhausted
	case http.StatusInternalServerError:
		return grpcInternal
	}
	return grpcUnknown
}

// writeGRPC sends the answer to a gRPC client. Access log and metrics go by the
// answer's HTTP status all the same: an outage is to be seen there whatever is spoken.
func (a *Answer) writeGRPC(r *Request) {
	r.status = a.Status
	h := r.echo.Response().Header()
	h.Del("Content-Encoding")
	h.Set("Content-Type", "application/grpc")
	code := grpcStatus(a.Status)
	if code == grpcUnavailable && r.pastGRPCDeadline() {
		code = grpcDeadlineExceeded // the app server ended the call at the client's own deadline
	}
	h.Set("Grpc-Status", strconv.Itoa(code))
	message := a.Detail
	if message == "" {
		message = httpx.StatusText(a.Status)
	}
	h.Set("Grpc-Message", grpcMessage(message))
	// gRFC A6: clients that retry wait for this long, and not as they see fit.
	if seconds, err := strconv.ParseInt(h.Get("Retry-After"), 10, 32); err == nil {
		h.Set("Grpc-Retry-Pushback-Ms", strconv.FormatInt(1000*seconds, 10))
	}
	r.echo.Response().WriteHeader(http.StatusOK)
}

// grpcMessage percent-encodes as the protocol wants it for grpc-message.
func grpcMessage(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
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
