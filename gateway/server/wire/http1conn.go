package wire

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// http1Conn is a connection that net/http reads HTTP/1 from. It follows the
// framing of what is read, and ends the stream at the first request that could be read in two ways.
//
// What is refused ends in bytes that are valid nowhere, and then in a read
// error. In a header, that makes net/http answer by itself and close; Write
// puts our answer in the place of that one. In a body, the handler finds it
// malformed, and answers. (A read error alone would not do: net/http takes one for a
// client that is gone, cancels the request that it may be working on, and says nothing.)
type http1Conn struct {
	net.Conn // *socket, or *tls.Conn on one
	socket   *socket
	options  *Options

	// These belong to whoever reads, which is one goroutine at a time.
	framer framer
	body   bodyRate
	poison string // what is left to be read after a refusal

	refused atomic.Pointer[RequestError]
	inBody  atomic.Bool // refused within a body, so that the handler answers; set before refused
	serving atomic.Bool // the handler runs, or its answer is being sent
	passing atomic.Bool // upgraded or HTTP/2: not our concern any more
	closing atomic.Bool
	told    bool // our own answer is out; belongs to the connection's goroutine

	mu      sync.Mutex
	pending []framing // of the requests that the handler has not begun
	readBy  time.Time // what net/http has set
	bodyBy  time.Time // what the body's rate demands
	armed   time.Time // what the socket has been told
	reading bool      // a read is under way
}

// What is read where a request was refused.
const (
	// endOfHead is invalid in a header, and does not end one. Between two
	// requests, net/http gives up silently on less than four bytes.
	endOfHead = "\x00\x00\x00\x00"
	// endOfBody is invalid in, and in the place of, a chunk's size line, the end
	// of a chunk, and a trailer. Of the latter net/http wants the end.
	endOfBody = "\x00\n\r\n\r\n"
)

func newHTTP1Conn(c net.Conn, s *socket, o *Options, h2c bool) *http1Conn {
	return &http1Conn{
		Conn:    c,
		socket:  s,
		options: o,
		framer:  newFramer(limits{header: o.MaxHeaderBytes, fields: o.MaxHeaderFields, h2c: h2c}),
		body:    bodyRate{min: o.MinBodyRate, grace: o.BodyGrace},
	}
}

// tlsHTTP1Conn is how net/http learns of the TLS beneath, for Request.TLS. A
// plain connection must not have the method.
type tlsHTTP1Conn struct {
	*http1Conn
	tls *tls.Conn
}

func (c tlsHTTP1Conn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// http1 returns the http1Conn that net/http has been given, or nil.
func http1(c net.Conn) *http1Conn {
	switch c := c.(type) {
	case *http1Conn:
		return c
	case tlsHTTP1Conn:
		return c.http1Conn
	}
	return nil
}

// Read reads what net/http may see.
func (c *http1Conn) Read(p []byte) (int, error) {
	if c.passing.Load() {
		return c.Conn.Read(p)
	}
	for {
		if err := c.refused.Load(); err != nil {
			if c.poison == "" {
				return 0, err
			}
			n := copy(p, c.poison)
			c.poison = c.poison[n:]
			return n, nil
		}
		n, err := c.readInTime(p)
		if n == 0 {
			if c.refused.Load() != nil {
				continue
			}
			return 0, err
		}
		passed, offence := c.framer.scan(p[:n])
		c.headsDone()
		if offence != nil {
			c.refuse(offence)
			err = nil // there is something to say first
		}
		if passed > 0 || err != nil {
			return passed, err
		}
	}
}

// headsDone hands over the framings that the framer has found.
func (c *http1Conn) headsDone() {
	if len(c.framer.heads) > 0 {
		c.mu.Lock()
		c.pending = append(c.pending, c.framer.heads...)
		c.mu.Unlock()
		c.framer.heads = c.framer.heads[:0]
		c.body.begin()
	}
	if c.framer.state == opaque {
		c.pass()
	}
}

// refuse ends what is read from the connection.
func (c *http1Conn) refuse(err *RequestError) {
	switch {
	case !c.framer.inMessage():
		c.poison = endOfHead
	case c.framer.state == inBody || c.framer.state == inChunk: // too slow: any bytes would pass for data
		c.inBody.Store(true)
	default:
		c.inBody.Store(true)
		c.poison = endOfBody
	}
	c.refused.Store(err)
	c.options.Refused(c.RemoteAddr(), err)
}

// begin is called before the handler, for each request. It reports whether
// net/http has read the same request as the framer.
func (c *http1Conn) begin(r *http.Request) bool {
	c.serving.Store(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) == 0 {
		return false
	}
	f := c.pending[0]
	c.pending = c.pending[:copy(c.pending, c.pending[1:])]
	return int64(f) == r.ContentLength
}

// bodyRefused returns why the body of the request that the handler is at, or
// was last, has been refused; nil if it was not. What has been read ahead may
// have been refused already, when requests are pipelined.
func (c *http1Conn) bodyRefused() *RequestError {
	if !c.inBody.Load() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) > 0 {
		return nil
	}
	return c.refused.Load()
}

// state follows net/http's states of the connection.
func (c *http1Conn) state(s http.ConnState) {
	switch s {
	case http.StateIdle:
		c.serving.Store(false)
	case http.StateHijacked:
		c.pass()
	}
}

// pass lets the connection be what it was under net/http alone.
func (c *http1Conn) pass() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passing.Store(true)
	c.bodyBy = time.Time{}
	_ = c.arm()
}

// Write writes an answer. When no handler is at work, it is net/http's own
// answer to what it could not read, and comes in one piece. Ours says the same in the form of the gateway's others.
func (c *http1Conn) Write(p []byte) (int, error) {
	if c.serving.Load() || c.passing.Load() {
		return c.Conn.Write(p)
	}
	if c.told || c.bodyRefused() != nil { // the latter has been answered by the handler
		return len(p), nil
	}
	c.told = true
	err := c.refused.Load()
	if err == nil || c.inBody.Load() {
		err = notUnderstood(p)
		c.refused.Store(err)
		c.options.Refused(c.RemoteAddr(), err)
	}
	if _, werr := c.Conn.Write(err.message(c.options.Now())); werr != nil {
		return 0, werr
	}
	return len(p), nil
}

// notUnderstood returns the error that net/http's answer stands for.
func notUnderstood(answer []byte) *RequestError {
	status := 0
	if len(answer) > len("HTTP/1.1 400") {
		for _, c := range answer[len("HTTP/1.1 "):len("HTTP/1.1 400")] {
			status = status*10 + int(c-'0')
		}
	}
	switch status {
	case http.StatusExpectationFailed:
		return &RequestError{Status: status, Reason: "of the expectations, only \"100-continue\" is supported"}
	case http.StatusRequestHeaderFieldsTooLarge, http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return &RequestError{Status: status}
	default:
		return bad("the request line or a header line is malformed")
	}
}

// Close closes the connection. A client that has been refused may still be
// sending; were we to close at once, the reset that its data then meets would
// take our answer away from it (RFC 9112 section 9.6).
func (c *http1Conn) Close() error {
	if c.closing.Swap(true) {
		return c.socket.Close()
	}
	if c.refused.Load() != nil && !c.passing.Load() {
		if t, ok := c.Conn.(*tls.Conn); ok {
			_ = t.CloseWrite()
		}
		c.socket.linger()
	}
	return c.Conn.Close()
}

// CloseWrite lets net/http end its side first, for the same reason.
func (c *http1Conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// readInTime reads, for as long as a body's rate allows where it is one.
func (c *http1Conn) readInTime(p []byte) (int, error) {
	for {
		if !c.framer.inMessage() || c.body.off() {
			c.setBodyDeadline(time.Time{})
			n, err := c.read(p)
			if err != nil && c.framer.inHead() && !c.serving.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
				c.refuse(tooSlow("header"))
			}
			return n, err
		}
		start := time.Now()
		c.setBodyDeadline(start.Add(c.body.credit))
		n, err := c.read(p)
		c.body.spend(time.Since(start), n)
		if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && c.bodyDeadlineMet() {
			if c.body.credit > 0 {
				continue
			}
			c.refuse(tooSlow("body"))
		}
		return n, err
	}
}

// read reads under the deadlines that are set by now.
func (c *http1Conn) read(p []byte) (int, error) {
	c.mu.Lock()
	c.reading = true
	_ = c.arm() // a closed connection will tell the read
	c.mu.Unlock()
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	c.reading = false
	c.mu.Unlock()
	return n, err
}

// arm tells the socket the deadline, if it has not been told already.
func (c *http1Conn) arm() error {
	by := earlier(c.readBy, c.bodyBy)
	if by.Equal(c.armed) {
		return nil
	}
	c.armed = by
	return c.Conn.SetReadDeadline(by)
}

// setBodyDeadline sets what a body's rate demands of the next read; zero lifts
// it. A deadline that is about right is left: setting one costs as much as a small read.
func (c *http1Conn) setBodyDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.IsZero() == c.bodyBy.IsZero() {
		if t.IsZero() {
			return
		}
		if d := t.Sub(c.bodyBy); -c.body.grace/8 < d && d < c.body.grace/8 {
			return
		}
	}
	c.bodyBy = t
}

// bodyDeadlineMet reports whether it was the body's deadline that has ended a
// read, and forgets that deadline.
func (c *http1Conn) bodyDeadlineMet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	met := c.readBy.IsZero() || c.bodyBy.Before(c.readBy)
	c.bodyBy = time.Time{}
	return met
}

// SetReadDeadline sets net/http's deadline. It sets six per request, mostly to
// lift them before anything is read: the socket, where each costs a timer, is
// told by the next read. A read that is under way must know at once.
func (c *http1Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readBy = t
	if c.reading || c.passing.Load() {
		return c.arm()
	}
	return nil
}

// SetDeadline sets both deadlines.
func (c *http1Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.Conn.SetWriteDeadline(t))
}

// earlier returns the earlier of two deadlines, where zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
