package listener

import (
	"net/http"
	"strings"
)

// IsGRPC reports whether a request is gRPC's: both sides may be silent in the
// middle of a message exchange, and the client reads the outcome from
// grpc-status. gRPC-Web is neither: there the trailers are part of the body.
func IsGRPC(r *http.Request) bool {
	if r.ProtoMajor < 2 {
		return false
	}
	rest, ok := strings.CutPrefix(r.Header.Get("Content-Type"), "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}
