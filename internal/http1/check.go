package http1

import (
	"net/http"

	"github.com/headgate/headgate/internal/httpx"
)

// FieldCheck judges the fields of a request that comes over another version of HTTP, as those of HTTP/1 are judged: it may
// go on over HTTP/1, and apps fold names. The zero value begins a request.
type FieldCheck struct{ framing framingFields }

// Field takes a field, and refuses what no header line may hold, and what another party might take for a field that
// frames the body.
func (c *FieldCheck) Field(name, value string) *Error {
	if !httpx.IsToken(name) || !IsClean(value) {
		return malformed("a header field is malformed")
	}
	return c.framing.see(name, value)
}

// Length returns the Content-Length, if there is one.
func (c *FieldCheck) Length() (n int64, given bool) { return c.framing.length, c.framing.cl }

// Expectation reads Expect, RFC 9110 section 10.1.1: whether 100 (Continue) is waited for. Other expectations are refused.
func Expectation(h http.Header) (expected bool, err *Error) {
	lines := h["Expect"]
	if len(lines) == 0 || lines[0] == "" {
		return false, nil
	}
	if !httpx.HasToken(lines, "100-continue") {
		return false, &Error{http.StatusExpectationFailed, "of the expectations, only \"100-continue\" is supported"}
	}
	return true, nil
}
