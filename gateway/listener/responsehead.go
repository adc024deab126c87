package listener

import (
	"net/http"
	"net/textproto"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/headgate/headgate/internal/http1"
	"github.com/headgate/headgate/internal/httpx"
)

// appendHead appends the answer's status line and header, but for what frames
// the body, and the end.
func (a *responseWriter) appendHead(b []byte) []byte {
	b = http1.AppendStatusLine(b, a.minor, a.status)
	if _, set := a.header["Date"]; !set { // RFC 9110 section 6.6.1; nil is a handler's way to have none
		b = append(b, "Date: "...)
		b = append(a.conn.server.date.append(b), "\r\n"...)
	}
	return http1.AppendFields(b, a.header)
}

// announce notes which trailer fields the handler has announced.
func (a *responseWriter) announce(lines []string) {
	for name := range httpx.Tokens(lines) {
		if name = textproto.CanonicalMIMEHeaderKey(name); httpguts.ValidTrailerHeader(name) {
			a.trailers = append(a.trailers, name)
		}
	}
}

// hasTrailer reports whether the body must be sent in chunks, for what comes
// behind it.
func (a *responseWriter) hasTrailer() bool {
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

// trailer returns the trailer section: announced fields, and those that
// are marked as such by http.TrailerPrefix.
func (a *responseWriter) trailer() http.Header {
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
	return trailer
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
