package listener

import (
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
)

// appendHead appends the answer's status line and header, but for what frames
// the body, and the end.
func (a *answer) appendHead(b []byte) []byte {
	b = appendStatus(b, a.http10, a.status)
	if _, set := a.header["Date"]; !set { // RFC 9110 section 6.6.1; nil is a handler's way to have none
		b = append(b, "Date: "...)
		b = append(a.conn.server.date.append(b), "\r\n"...)
	}
	return appendFields(b, a.header)
}

func appendStatus(b []byte, http10 bool, status int) []byte {
	if http10 {
		b = append(b, "HTTP/1.0 "...)
	} else {
		b = append(b, "HTTP/1.1 "...)
	}
	b = append(strconv.AppendInt(b, int64(status), 10), ' ')
	return append(append(b, http.StatusText(status)...), "\r\n"...)
}

// field is a header field on its way out.
type field struct {
	name   string
	values []string
}

// appendFields appends header lines in the order of their names, without those
// that are about the connection and the body's framing. None of them can
// become two: what a field must not hold (RFC 9110 section 5.5) is left out or blanked.
func appendFields(b []byte, h http.Header) []byte {
	var few [24]field
	fields := few[:0]
	for name, values := range h {
		if len(values) == 0 || !isToken(name) || isFraming(name, values) {
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
			b = append(append(b, f.name...), ": "...)
			if v = trim(v); isClean(v) {
				b = append(b, v...)
			} else {
				b = appendBlanked(b, v)
			}
			b = append(b, "\r\n"...)
		}
	}
	return b
}

// isFraming reports whether a field is the connection's to write.
func isFraming(name string, values []string) bool {
	switch name {
	case "Content-Length", "Transfer-Encoding":
		return true
	case "Connection":
		return httpguts.HeaderValuesContainsToken(values, "close") || httpguts.HeaderValuesContainsToken(values, "keep-alive")
	}
	return false
}

// appendBlanked appends a value with spaces for its control characters.
func appendBlanked(b []byte, v string) []byte {
	for i := range len(v) {
		c := v[i]
		if c < ' ' && c != '\t' || c == 0x7f {
			c = ' '
		}
		b = append(b, c)
	}
	return b
}

// announce notes which trailer fields the handler has announced.
func (a *answer) announce(line string) {
	for name := range strings.SplitSeq(line, ",") {
		if name = textproto.CanonicalMIMEHeaderKey(trim(name)); httpguts.ValidTrailerHeader(name) {
			a.trailers = append(a.trailers, name)
		}
	}
}

// hasTrailer reports whether the body must be sent in chunks, for what comes
// behind it.
func (a *answer) hasTrailer() bool {
	if len(a.trailers) > 0 {
		return true
	}
	for name := range a.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// appendTrailer appends the trailer section: announced fields, and those that
// are marked as such by http.TrailerPrefix.
func (a *answer) appendTrailer(b []byte) []byte {
	trailer := http.Header{}
	for _, name := range a.trailers {
		if values := a.header[name]; len(values) > 0 {
			trailer[name] = values
		}
	}
	for name, values := range a.header {
		if name, ok := strings.CutPrefix(name, http.TrailerPrefix); ok && httpguts.ValidTrailerHeader(name) {
			trailer[name] = append(trailer[name], values...)
		}
	}
	return append(appendFields(b, trailer), "\r\n"...)
}

// dates makes the Date field's value once a second.
type dates struct {
	now  func() time.Time
	last atomic.Pointer[date]
}

type date struct {
	until time.Time // by the system's clock, which costs less than the time of day
	text  string
}

func (d *dates) append(b []byte) []byte {
	last := d.last.Load()
	if last == nil || time.Until(last.until) <= 0 {
		now := d.now()
		left := time.Second - time.Duration(now.Nanosecond())
		last = &date{time.Now().Add(left), now.UTC().Format(http.TimeFormat)}
		d.last.Store(last)
	}
	return append(b, last.text...)
}
