package http1

import (
	"net/http"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// ResponseHead is a response's head, understood. It must not be copied.
type ResponseHead struct {
	Status  int    // 100 to 999
	Reason  string // mostly empty or the usual one
	Minor   int    // of the version: 0 or 1
	Header  http.Header
	Trailer http.Header // announced, without values; nil where none is
	Body    Framing
	// Close says that the connection ends with this response: the server says so, speaks HTTP/1.0 without
	// keep-alive, or tells the body's end by it.
	Close bool

	values [16]string
}

// Interim reports whether another head follows. 101 (Switching Protocols) is final: what follows is not HTTP/1.
func (h *ResponseHead) Interim() bool {
	return h.Status < 200 && h.Status != http.StatusSwitchingProtocols
}

// Parse reads the head of a response to a request of this method, which a HeadScanner has found the end of, with so many
// header lines. It copies the bytes once.
func (h *ResponseHead) Parse(data []byte, fields int, method string) *Error {
	line, rest, ok := cutLine(string(data))
	if !ok {
		return errBareCR
	}
	if err := h.statusLine(line); err != nil {
		return err
	}
	var f framingFields
	var err *Error
	if h.Header, err = f.parseFields(rest, fields, h.values[:]); err != nil {
		return err
	}
	if h.Body, err = f.ofResponse(method, h.Status, h.Minor); err != nil {
		return err
	}
	if f.te { // also of a response to HEAD, which has no body
		delete(h.Header, "Transfer-Encoding")
		if h.Trailer, err = AnnouncedTrailer(h.Header); err != nil {
			return err
		}
	}
	connection := h.Header["Connection"]
	h.Close = h.Body == UntilClose || httpx.HasToken(connection, "close") ||
		h.Minor == 0 && !httpx.HasToken(connection, "keep-alive")
	PragmaMeansNoCache(h.Header)
	return nil
}

var errStatusLine = malformed("the status line is malformed")

// responseVersion looks at the beginning of a status line: another protocol is found before the header has arrived.
func responseVersion(line []byte) *Error {
	const version = "HTTP/1.1"
	if len(line) <= len(version) || line[len(version)] != ' ' || !isVersion(line[:len(version)]) {
		return errStatusLine
	}
	if line[5] != '1' || line[7] > '1' {
		return malformed("the response is not HTTP/1.0 or HTTP/1.1")
	}
	return nil
}

// statusLine reads version, status and reason, RFC 9112 section 4. The space behind the status may be missing with the
// reason, as many servers have it.
func (h *ResponseHead) statusLine(line string) *Error {
	const version = "HTTP/1.1"
	if err := responseVersion([]byte(line)); err != nil {
		return err
	}
	h.Minor = int(line[len(version)-1] - '0')
	code, reason, _ := strings.Cut(line[len(version)+1:], " ")
	if len(code) != 3 || reason != "" && reason[0] == ' ' || !IsClean(reason) {
		return errStatusLine
	}
	status, ok := ParseLength(code)
	if !ok || status < 100 {
		return errStatusLine
	}
	h.Status, h.Reason = int(status), reason
	return nil
}
