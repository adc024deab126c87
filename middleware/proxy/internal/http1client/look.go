package http1client

import (
	"crypto/tls"
	"errors"
	"os"
	"time"
)

// longAgo as a deadline ends whatever waits.
var longAgo = time.Unix(1, 0)

// ready prepares an unused connection for a request, whose reads have that deadline, and reports whether it is sound.
func (c *conn) ready(deadline time.Time, join bool) bool {
	if len(c.reader.Buffered()) > 0 {
		return false
	}
	if join && c.joins() {
		_ = c.nc.SetReadDeadline(deadline)
		return true
	}
	return c.quiet(deadline)
}

// quiet reports whether nothing has come on an unused connection: neither bytes, which would be taken for the response to the next request, nor the
// server's close. Then reads have that deadline.
func (c *conn) quiet(deadline time.Time) bool {
	if c.records != nil && !c.quietTLS() {
		return false
	}
	_ = c.nc.SetReadDeadline(deadline)
	return c.socket == nil || !readable(c.socket)
}

// quietTLS lets TLS process what is its own: session tickets and key updates come behind a response too. What is left then is none of its business, and
// the caller's next look finds it, unless it is within TLS: data, an alert, or a part of a record.
func (c *conn) quietTLS() bool {
	deadline := longAgo
	if c.socket != nil {
		_ = c.nc.SetReadDeadline(time.Time{}) // a look fails with a deadline that has passed
		if readable(c.socket) {
			deadline = time.Now().Add(ticketWait)
		}
	}
	_ = c.nc.SetReadDeadline(deadline)
	var b [1]byte
	n, err := c.nc.(*tls.Conn).Read(b[:])
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && c.records.atBoundary()
}

// ticketWait is how long the look at a TLS connection waits behind a record that TLS keeps for itself. Too short for a busy
// machine costs a connection, no more.
const ticketWait = time.Millisecond
