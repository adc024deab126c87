package listener

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/http1"
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
