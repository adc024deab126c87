package httpx

import (
	"fmt"
	"net/http"
	"strings"
)

// IsGRPC reports whether a message is gRPC's, by its header: both sides may be silent in the middle of a message exchange,
// and the client reads the outcome from grpc-status. The media type may have a suffix (+proto) and parameters, and as any
// media type it ignores case (RFC 9110 section 8.3.1). gRPC-Web is neither: there the trailers are part of the body.
func IsGRPC(h http.Header) bool {
	rest, ok := afterGRPC(h)
	return ok && (rest == "" || strings.IndexByte("+; \t", rest[0]) >= 0)
}

// IsGRPCWeb reports whether a message is gRPC-Web's.
func IsGRPCWeb(h http.Header) bool {
	rest, ok := afterGRPC(h)
	return ok && len(rest) >= len("-web") && strings.EqualFold(rest[:len("-web")], "-web")
}

// afterGRPC returns what follows application/grpc in the media type.
func afterGRPC(h http.Header) (rest string, ok bool) {
	const grpc = "application/grpc"
	types := h["Content-Type"]
	if len(types) == 0 {
		return "", false
	}
	value := TrimOWS(types[0])
	if len(value) < len(grpc) || !strings.EqualFold(value[:len(grpc)], grpc) {
		return "", false
	}
	return value[len(grpc):], true
}

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
