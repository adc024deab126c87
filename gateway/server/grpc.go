package server

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/labstack/echo/v4"
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

// writeGRPC sends the problem to a gRPC client. Log and metrics go by the
// problem's status all the same: an outage is to be seen there whatever is spoken.
func (p *problem) writeGRPC(c echo.Context) {
	exchangeOf(c).status = p.Status
	h := c.Response().Header()
	h.Del("Content-Encoding")
	h.Set("Content-Type", "application/grpc")
	h.Set("Grpc-Status", strconv.Itoa(grpcStatus(p.Status)))
	message := p.Detail
	if message == "" {
		message = httpx.StatusText(p.Status)
	}
	h.Set("Grpc-Message", grpcMessage(message))
	// gRFC A6: clients that retry wait for this long, and not as they see fit.
	if seconds, err := strconv.ParseInt(h.Get("Retry-After"), 10, 32); err == nil {
		h.Set("Grpc-Retry-Pushback-Ms", strconv.FormatInt(1000*seconds, 10))
	}
	c.Response().WriteHeader(http.StatusOK)
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

// denyGRPC is a denial by the limits, for a gRPC client.
func denyGRPC(c echo.Context, o *ratelimit.Result) error {
	o.WriteHeaders(c.Response().Header())
	p := refuse(http.StatusTooManyRequests, "Request cannot be satisfied as assigned quota has been exceeded.")
	if o.Unavailable() {
		p = refuse(http.StatusServiceUnavailable, "Rate limits cannot be checked at the moment.")
	}
	return p.with("Retry-After", strconv.FormatInt(o.RetryAfter(), 10))
}
