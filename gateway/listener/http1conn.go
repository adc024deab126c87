package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/http1"
)

// http1Conn serves HTTP/1 on one connection. One goroutine reads a request,
// runs the handler and sees the answer out, over and over:
//
//	await -> readHead -> handle -> finish
//
// Nothing is read ahead of a request that is not sound, so that nothing behind it can be served.
type http1Conn struct {
	net.Conn // *socket, or *tls.Conn on one
	socket   *socket
	server   *Server
	tls      *tls.ConnectionState
	remote   string // what requests say of it
	limits   http1.Limits

	// The buffer belongs to one reader at a time: the connection's goroutine, the
	// handler's by way of the request's body, or the watch.
	buf   []byte
	r, w  int // what has arrived is buf[r:w]
	watch watch
	eager eagerness

	header http.Header // of answers, one after the other

	state atomic.Int32 // connState

	deadline readDeadline
	headBy   time.Time // zero while a head need not be waited for
}

// What a connection is doing, for Shutdown.
type connState = int32

const (
	connNew       connState = iota // accepted, and has said nothing yet
	connActive                     // a request has begun
	connIdle                       // between two requests
	connLingering                  // the last answer is out, and what the client still sends is thrown away
	connClosed                     // by Shutdown
)

const (
	readBuffer = 4 << 10
	// maxDiscard is how much of a body that the handler has left is read, in the
	// hope of using the connection again.
	maxDiscard = 256 << 10
)

func newHTTP1Conn(c net.Conn, sock *socket, s *Server) *http1Conn {
	hc := &http1Conn{
		Conn: c, socket: sock, server: s,
		remote: c.RemoteAddr().String(),
		limits: http1.Limits{Head: s.options.MaxHeaderBytes, Fields: s.options.MaxHeaderFields},
		buf:    make([]byte, readBuffer),
		header: make(http.Header, 8),
	}
	hc.watch.done = make(chan struct{}, 1)
	hc.deadline.conn = c
	if t, ok := c.(*tls.Conn); ok {
		state := t.ConnectionState()
		hc.tls = &state
	}
	return hc
}

// errOver ends a connection on which there is nothing more to say.
var errOver = errors.New("listener: the connection is over")

// serve serves until the connection ends, or is handed on: errNotHTTP1
// says that it is HTTP/2's.
func (c *http1Conn) serve() error {
	handedOver := false
	defer func() { // also where a handler ends this goroutine
		if p := recover(); p != nil {
			c.server.panicked.Log(context.Background(), c.server.options.Logger, slog.LevelError, "serving a connection panicked", "peer", c.remote, "panic", p, "stack", string(debug.Stack()))
		}
		if !handedOver && !c.watch.hijacked.Load() {
			c.Conn.Close()
		}
	}()
	var err error
	for first := true; err == nil; first = false {
		err = c.serveOne(first)
	}
	var offence *RequestError
	switch {
	case errors.Is(err, errNotHTTP1):
		handedOver = true
	case errors.As(err, &offence):
		c.refuse(offence)
	}
	return err
}

// serveOne serves one request. Its error ends the connection.
func (c *http1Conn) serveOne(first bool) error {
	if err := c.await(first); err != nil {
		return err
	}
	x := &servedRequest{conn: c}
	if err := c.readHead(&x.head, first); err != nil {
		return err
	}
	if err := c.handle(x); err != nil {
		return err
	}
	if !c.state.CompareAndSwap(connActive, connIdle) {
		return errOver
	}
	return nil
}

// await waits for a request's first byte. It skips one empty line before it (RFC
// 9112 section 2.2), which is not the beginning of a request yet.
func (c *http1Conn) await(first bool) error {
	wait := c.server.options.IdleTimeout
	if first {
		wait = c.server.options.ReadHeaderTimeout
	}
	c.stopWatch()
	for skipped := false; ; {
		seen := c.buf[c.r:c.w]
		switch {
		case len(seen) > 1 && !skipped && string(seen[:2]) == "\r\n":
			c.r += 2
			skipped = true
			continue
		case len(seen) == 0, len(seen) == 1 && !skipped && seen[0] == '\r':
			c.deadline.within(wait)
			if err := c.fill(); err != nil {
				return err
			}
			continue
		}
		break
	}
	if !c.state.CompareAndSwap(connIdle, connActive) && !c.state.CompareAndSwap(connNew, connActive) {
		return errOver
	}
	return nil
}

// errNotHTTP1 says that HTTP/2 is spoken, as far as one can see.
var errNotHTTP1 = errors.New("listener: not HTTP/1")

// readHead reads a request's head. Its error is a *RequestError where the
// client is to be told.
func (c *http1Conn) readHead(h *http1.RequestHead, first bool) error {
	c.headBy = time.Time{}
	if c.buf[c.r] == '\r' {
		return bad("a carriage return, or more than one empty line, stands before the request line")
	}
	if first && c.server.options.H2C {
		if err := c.sniffPreface(); err != nil {
			return err
		}
	}
	var scan http1.HeadScanner
	for {
		n, offence := scan.Next(c.buf[c.r:c.w], c.limits)
		if offence != nil {
			return refusalOf(offence)
		}
		if n > 0 {
			offence := h.Parse(c.buf[c.r:c.r+n], scan.Fields())
			c.r += n
			c.shrink()
			if offence != nil {
				return refusalOf(offence)
			}
			if !c.server.options.HTTP1 {
				return &RequestError{Status: http.StatusHTTPVersionNotSupported, Reason: "only HTTP/2 is served here"}
			}
			return nil
		}
		if err := c.fillHead(); err != nil {
			return err
		}
	}
}

// fillHead waits for more of a head, within its time.
func (c *http1Conn) fillHead() error {
	if c.headBy.IsZero() {
		c.headBy = time.Now().Add(c.server.options.ReadHeaderTimeout)
		c.deadline.by(c.headBy)
	}
	err := c.fill()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return tooSlow("header")
	}
	return err
}

// preface is HTTP/2's connection preface, RFC 9113 section 3.4. Its first line
// looks like a request's.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// sniffPreface finds out whether the connection begins with HTTP/2's preface.
func (c *http1Conn) sniffPreface() error {
	const line = len("PRI * HTTP/2.0\r\n")
	for {
		seen := c.buf[c.r:c.w]
		n := min(len(seen), len(preface))
		switch {
		case string(seen[:n]) != preface[:n]:
			if n > line && string(seen[:line]) == preface[:line] {
				return bad("the HTTP/2 connection preface is malformed")
			}
			return nil
		case n == len(preface):
			return errNotHTTP1
		}
		if err := c.fillHead(); err != nil {
			return err
		}
	}
}

// handle runs the handler and sees the answer out. Its error ends the connection.
func (c *http1Conn) handle(x *servedRequest) error {
	x.begin()
	if x.body == nil && !c.headBy.IsZero() || x.body != nil && x.body.rate.off() {
		c.deadline.reset()
	}
	c.watch.begin(x)
	whole := c.run(x)
	c.watch.end()
	x.ctx.end()
	switch {
	case c.watch.hijacked.Load():
		return http.ErrHijacked
	case !whole: // the client must see that the answer is not
		if x.response.mode == byClose {
			c.socket.breakOff()
		}
		return errOver
	}
	return c.finish(x)
}

// run calls the handler, and reports whether it returned rather than panicked.
func (c *http1Conn) run(x *servedRequest) (whole bool) {
	defer func() {
		if whole {
			return
		}
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			c.server.panicked.Log(x.request.Context(), c.server.options.Logger, slog.LevelError, "a handler panicked", "peer", c.remote, "panic", p, "stack", string(debug.Stack()))
		}
		if x.body != nil {
			x.body.drain(0)
		}
	}()
	c.server.options.Handler.ServeHTTP(&x.response, x.request)
	return true
}

// finish sends what is left of the answer. Its error says that no other request
// may follow.
func (c *http1Conn) finish(x *servedRequest) error {
	err := x.response.finish()
	clear(c.header)
	if err == nil && x.response.close {
		err = errOver
	}
	limit := 0
	if err == nil {
		limit = maxDiscard
	}
	switch {
	case x.body != nil && !x.body.drain(limit):
		c.linger()
		return errOver
	case err != nil && c.r < c.w:
		c.linger() // a pipelined request will not be read
	case err == nil && x.response.timed:
		c.deadline.reset()
		err = c.Conn.SetWriteDeadline(time.Time{})
	}
	return err
}

// refuse answers what has not become a request, and ends the connection.
func (c *http1Conn) refuse(offence *RequestError) {
	c.server.options.Refused(c.RemoteAddr(), offence)
	_, _ = c.Conn.Write(offence.message(c.server.options.Now())) // the client may be gone
	c.linger()
}

// linger ends our side, and gives the client the time to read the answer.
func (c *http1Conn) linger() {
	if !c.state.CompareAndSwap(connActive, connLingering) {
		return
	}
	if t, ok := c.Conn.(*tls.Conn); ok {
		_ = t.CloseWrite()
	}
	c.socket.linger(c.server.options.LingerTimeout)
}

// writeBoth writes a and b behind it.
func (c *http1Conn) writeBoth(a, b []byte) error {
	if c.Conn == net.Conn(c.socket) {
		return c.socket.writeBoth(a, b)
	}
	for _, p := range [][]byte{a, b} { // TLS
		if len(p) == 0 {
			continue
		}
		if _, err := c.Conn.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// bodyRead is called when the request has been read to its end.
func (c *http1Conn) bodyRead() {
	c.deadline.reset()
	c.watch.allow()
}

var continueMessage = []byte("HTTP/1.1 100 Continue\r\n\r\n")

// sendContinue asks the client for the body.
func (c *http1Conn) sendContinue() {
	_, _ = c.Conn.Write(continueMessage) // a failure shows when the body is read
}
