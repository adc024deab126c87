package httpx

import (
	"fmt"
	"net/http"
	"strings"
)

// The codes of https://grpc.io/docs/guides/status-codes/ that the gateway answers with.
const (
	grpcUnknown           = 2
	grpcResourceExhausted = 8
	grpcUnimplemented     = 12
	grpcInternal          = 13
	GRPCUnavailable       = 14
	grpcUnauthenticated   = 16
	grpcPermissionDenied  = 7
	GRPCDeadlineExceeded  = 4
)

// GRPCStatus is gRPC's own mapping of HTTP statuses (http-grpc-status-mapping.md
// in grpc/grpc), so that clients see what they would have concluded by
// themselves. Where it has nothing but UNKNOWN we know better.
func GRPCStatus(status int) int {
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
		return GRPCUnavailable

	case http.StatusMethodNotAllowed:
		return grpcUnimplemented
	case http.StatusRequestTimeout:
		return GRPCDeadlineExceeded
	case http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge:
		return grpcResourceExhausted
	case http.StatusInternalServerError:
		return grpcInternal
	}
	return grpcUnknown
}

// GRPCMessage percent-encodes as the protocol wants it for grpc-message.
func GRPCMessage(s string) string {
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
