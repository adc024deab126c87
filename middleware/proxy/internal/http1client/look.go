package http1client

import (
	"crypto/tls"
	"errors"
	"os"
	"time"
)

// longAgo as a deadline ends whatever waits.
var longAgo = time.Unix(1, 0)

// ready prepares an unused connection for a request, whose first read looks up by that time, and reports whether it is sound.
func (c *conn) ready(lookUp time.Time, join bool) bool {
	if len(c.reader.Buffered()) > 0 {
		return false
	}
	join = join && c.joins()
	if !join && c.records != nil && !c.quietTLS() {
		return false
	}
	// A look fails with a deadline that has passed. For a joined request one that is a little earlier, of the request before, is as good: setting it costs
	// about as much as a small read.
	if !join || c.readBy.IsZero() || c.readBy.After(lookUp) || c.readBy.Before(lookUp.Add(-patience/2)) {
		c.setReadBy(lookUp)
	}
	return join || c.socket == nil || !readable(c.socket)
}

// quietTLS reports whether nothing has come on an unused connection that TLS gives out: neither bytes, which would be taken for the response to
// the next request, nor the server's close. It lets TLS process what is its own: session tickets and key updates come behind a response too.
// What is left then is none of its business, and the caller's next look finds it, unless it is within TLS: data, an alert, or a part of a
// record.
func (c *conn) quietTLS() bool {
	deadline := longAgo
	if c.socket != nil {
		c.setReadBy(time.Time{}) // a look fails with a deadline that has passed
		if readable(c.socket) {
			deadline = time.Now().Add(ticketWait)
		}
	}
	c.setReadBy(deadline)
	var b [1]byte
	n, err := c.nc.(*tls.Conn).Read(b[:])
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && c.records.atBoundary()
}

// ticketWait is how long the look at a TLS connection waits behind a record that TLS keeps for itself. Too short for a busy
// machine costs a connection, no more.
const ticketWait = time.Millisecond
