package pipeline

import (
	"math/rand/v2"
	"net/http"
)

const headerRequestID = "X-Request-Id"

// requestID returns the ID that the client or a proxy in front has given the
// request, if it is one that can stand in a log, and a new one otherwise.
func requestID(h http.Header) string {
	if ids := h[headerRequestID]; len(ids) == 1 && validRequestID(ids[0]) {
		return ids[0]
	}
	return newRequestID()
}

// newRequestID returns 128 random bits in base32, so that no two requests are
// likely to share one. It guards nothing, so it need not come from the kernel:
// that would be a system call per request.
func newRequestID() string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" // RFC 4648 section 6
	var id [26]byte
	high, low := rand.Uint64(), rand.Uint64()
	for i := range 13 {
		id[i], id[13+i] = digits[high&31], digits[low&31]
		high, low = high>>5, low>>5
	}
	return string(id[:])
}

// validRequestID allows what IDs are made of in practice: UUIDs, ULIDs,
// base64, trace IDs. Whatever else comes could be an attempt to write into logs.
func validRequestID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		switch b := id[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		case b == '-', b == '_', b == '.', b == ':', b == '/', b == '+', b == '=', b == '@':
		default:
			return false
		}
	}
	return true
}
