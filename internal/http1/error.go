package http1

import (
	"net/http"
	"strconv"
)

// Error is why a message is refused.
type Error struct {
	// Status is what a server answers such a request with: 400, 414, 417, 431, 501 or 505. A client that is sent such a
	// response has no use for it.
	Status int
	// Reason says in half a sentence what is wrong. It repeats nothing that the peer has sent.
	Reason string
}

func (e *Error) Error() string { return "malformed message: " + e.Reason }

func malformed(reason string) *Error { return &Error{http.StatusBadRequest, reason} }

func tooLarge(reason string) *Error {
	return &Error{http.StatusRequestHeaderFieldsTooLarge, reason}
}

// targetTooLong is the refusal of a request line of more than limit bytes.
func targetTooLong(limit int) *Error {
	return &Error{http.StatusRequestURITooLong, "the request line is larger than the " + strconv.Itoa(limit) + " bytes that are allowed"}
}

// HeadTooLarge is the refusal of a head of more than limit bytes.
func HeadTooLarge(limit int) *Error {
	return tooLarge("the request line and header are larger than the " + strconv.Itoa(limit) + " bytes that are allowed")
}
