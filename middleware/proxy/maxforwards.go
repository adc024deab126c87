package proxy

import (
	"net/http"
	"strconv"
)

// MaxForwards returns how many more times a request may be forwarded (RFC 9110 section
// 7.6.2). limited is false where it does not say so in a number, or its method is not
// OPTIONS: TRACE, the other one with a bound, is not forwarded at all.
func MaxForwards(method string, h http.Header) (n uint64, limited bool) {
	lines := h["Max-Forwards"]
	if method != http.MethodOptions || len(lines) != 1 {
		return 0, false
	}
	n, err := strconv.ParseUint(lines[0], 10, 64)
	return n, err == nil
}

// countForward makes the request's bound one less. Forward has answered one that was zero.
func countForward(method string, h http.Header) {
	if n, limited := MaxForwards(method, h); limited && n > 0 {
		h["Max-Forwards"] = []string{strconv.FormatUint(n-1, 10)}
	}
}
