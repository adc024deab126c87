package listener

import (
	"fmt"
	"net/http"
	"time"

	"github.com/headgate/headgate/internal/http1"
	"github.com/headgate/headgate/internal/httpx"
)

// RequestError is why a request was refused, or its body cut off, before or
// while the Handler dealt with it.
type RequestError struct {
	// Status is that of the answer: 400, 408, 414, 417, 431, 501 or 505.
	Status int
	// Reason says in half a sentence what is wrong. It repeats nothing that the
	// client has sent.
	Reason string
}

func (e *RequestError) Error() string { return "request refused: " + e.Reason }

// refusalOf is the refusal of a malformed message.
func refusalOf(e *http1.Error) *RequestError {
	return &RequestError{Status: e.Status, Reason: e.Reason}
}

func bad(reason string) *RequestError {
	return &RequestError{Status: http.StatusBadRequest, Reason: reason}
}

func tooSlow(what string) *RequestError {
	return &RequestError{Status: http.StatusRequestTimeout, Reason: "the " + what + " came too slowly"}
}

func (e *RequestError) problem() httpx.Problem {
	return httpx.Problem{Status: e.Status, Detail: e.Reason}
}

// message is the whole answer as it goes over an HTTP/1 connection that is closed next.
func (e *RequestError) message(now time.Time) []byte {
	body := e.problem().Render().Body()
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: "+httpx.ProblemType+"\r\n"+
		"Cache-Control: no-store\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		e.Status, http.StatusText(e.Status), now.UTC().Format(http.TimeFormat), len(body), body)
}
