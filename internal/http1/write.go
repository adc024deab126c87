package http1

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// AppendStatusLine appends a response's first line.
func AppendStatusLine(b []byte, minor, status int) []byte {
	if minor == 0 {
		b = append(b, "HTTP/1.0 "...)
	} else {
		b = append(b, "HTTP/1.1 "...)
	}
	b = append(strconv.AppendInt(b, int64(status), 10), ' ')
	return append(append(b, http.StatusText(status)...), "\r\n"...)
}

// ErrRequestLine is why a method or a target cannot be sent: it would become something else on the wire.
var ErrRequestLine = errors.New("http1: the method is no token, or the target holds a space or a control character")

// AppendRequestLine appends the first line of an HTTP/1.1 request.
func AppendRequestLine(b []byte, method, target string) ([]byte, error) {
	if !httpx.IsToken(method) || target == "" || !IsClean(target) || strings.ContainsAny(target, " \t") {
		return b, ErrRequestLine
	}
	b = append(append(b, method...), ' ')
	return append(append(b, target...), " HTTP/1.1\r\n"...), nil
}

// AppendField appends a header line. It cannot become two: a name that is no token is left out, and what a value must not
// hold (RFC 9110 section 5.5) becomes a space.
func AppendField(b []byte, name, value string) []byte {
	if !httpx.IsToken(name) {
		return b
	}
	return appendField(b, name, value)
}

func appendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	return append(append(b, CleanValue(value)...), "\r\n"...)
}

// CleanValue returns a field's value as it may be sent, RFC 9110 section 5.5: without blanks around it, and with spaces
// for control characters.
func CleanValue(v string) string {
	if v = httpx.TrimOWS(v); IsClean(v) {
		return v
	}
	b := []byte(v)
	for i, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			b[i] = ' '
		}
	}
	return string(b)
}

// field is a header field on its way out.
type field struct {
	name   string
	values []string
}

// AppendFields appends header lines in the order of their names, as AppendField does, without those
// that are the connection's to write: Content-Length, Transfer-Encoding, and a Connection that speaks of close or keep-alive.
func AppendFields(b []byte, h http.Header) []byte {
	var few [24]field
	fields := few[:0]
	for name, values := range h {
		if len(values) == 0 || !httpx.IsToken(name) || isConnections(name, values) {
			continue
		}
		at := len(fields)
		fields = append(fields, field{})
		for ; at > 0 && fields[at-1].name > name; at-- {
			fields[at] = fields[at-1]
		}
		fields[at] = field{name, values}
	}
	for _, f := range fields {
		for _, v := range f.values {
			b = appendField(b, f.name, v)
		}
	}
	return b
}

// isConnections reports whether a field is the connection's to write.
func isConnections(name string, values []string) bool {
	switch name {
	case "Content-Length", "Transfer-Encoding":
		return true
	case "Connection":
		return httpx.HasToken(values, "close") || httpx.HasToken(values, "keep-alive")
	}
	return false
}

// AppendFraming appends the field that frames a body. UntilClose has none.
func AppendFraming(b []byte, f Framing) []byte {
	switch {
	case f == Chunked:
		return append(b, "Transfer-Encoding: chunked\r\n"...)
	case f >= 0:
		return append(strconv.AppendInt(append(b, "Content-Length: "...), int64(f), 10), "\r\n"...)
	}
	return b
}

// AppendChunkSize appends what comes before a chunk of n bytes, which must not be 0; behind the chunk comes ChunkEnd.
func AppendChunkSize(b []byte, n int64) []byte {
	return append(strconv.AppendInt(b, n, 16), "\r\n"...)
}

// ChunkEnd ends a chunk.
const ChunkEnd = "\r\n"

// AppendLastChunk appends the end of a chunked body, with its trailer.
func AppendLastChunk(b []byte, trailer http.Header) []byte {
	return append(AppendFields(append(b, "0\r\n"...), trailer), "\r\n"...)
}
