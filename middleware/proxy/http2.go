package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/middleware/proxy/internal/http1client"
)

// http2Client sends requests to one server over HTTP/2. net/http has the protocol in hand; its own pool would send what a server refuses again by itself,
// to the same server and with pauses of seconds.
type http2Client struct {
	options   http1client.Options
	transport *http.Transport // makes connections of sockets
	// toHTTP1 takes connections for which ALPN has chosen HTTP/1.1. Nil: it is not offered.
	toHTTP1 func(net.Conn, *http1client.Records)

	mu      sync.Mutex
	conns   []*http2Conn
	dialing *http2Dial  // nil: none is under way
	timer   *time.Timer // nil: no connection has a greatest age
	closed  bool
}

// http2Dial is an attempt to open a connection, which several requests may wait for.
type http2Dial struct {
	socket atomic.Bool // there is one: what is missing are the server's SETTINGS
	done   chan struct{}
	conn   *http2Conn
	err    error
}

// errHTTP1 is returned in place of a response where ALPN has chosen HTTP/1.1. Nothing has been sent.
var errHTTP1 = errors.New("the server has chosen HTTP/1.1")

// RoundTrip implements http.RoundTripper.
func (c *http2Client) RoundTrip(req *http.Request) (*http.Response, error) {
	return c.send(req, func() {})
}

// send sends a request once, and calls connected when there is a connection for it, or the server has taken too long over its beginning.
func (c *http2Client) send(req *http.Request, connected func()) (*http.Response, error) {
	conn, err := c.reserve(req.Context(), connected)
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	return conn.RoundTrip(req)
}

// maxUseless is how many connections in a row a request waits for that take no request.
const maxUseless = 3

var errUseless = errors.New("the server closes its HTTP/2 connections at once, or allows no requests on them")

// reserve takes a place for a request on a connection, or waits for a new one.
func (c *http2Client) reserve(ctx context.Context, connected func()) (*http2Conn, error) {
	for useless := 0; useless < maxUseless; {
		conn, dial := c.free(ctx)
		if conn != nil {
			connected()
			return conn, nil
		}
		select {
		case <-dial.done:
		case <-ctx.Done():
			if dial.socket.Load() {
				connected()
			}
			return nil, context.Cause(ctx)
		}
		if dial.err != nil {
			return nil, dial.err
		}
		if dial.conn.useless() {
			useless++
		}
	}
	return nil, errUseless
}

// free returns a connection with a place, which is taken then, or else the dial under way.
func (c *http2Client) free(ctx context.Context) (*http2Conn, *http2Dial) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.options.MaxAge > 0 {
		c.retireOld(time.Now())
	}
	for i := 0; i < len(c.conns); i++ {
		conn := c.conns[i]
		if conn.Reserve() == nil {
			if c.closed {
				c.conns = slices.Delete(c.conns, i, i+1)
				conn.retire()
			}
			return conn, nil
		}
		if conn.useless() {
			c.conns = slices.Delete(c.conns, i, i+1)
			conn.retire()
			i--
		}
	}
	if c.dialing == nil {
		c.dialing = &http2Dial{done: make(chan struct{})}
		// Others may wait for the connection too: the client that made it necessary may leave.
		go c.dial(context.WithoutCancel(ctx), c.dialing)
	}
	return nil, c.dialing
}

func (c *http2Client) dial(ctx context.Context, d *http2Dial) {
	defer c.dialed(d)
	nc, records, err := http1client.Dial(ctx, c.options, c.options.TLS)
	switch {
	case err != nil:
		d.err = err
	case records == nil || nc.(*tls.Conn).ConnectionState().NegotiatedProtocol == "h2":
		d.conn, d.err = c.begin(d, nc)
	case c.toHTTP1 != nil:
		c.toHTTP1(nc, records)
		d.err = errHTTP1
	default:
		nc.Close()
		d.err = errNotHTTP2
	}
}

func (c *http2Client) dialed(d *http2Dial) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dialing == d {
		c.dialing = nil
	}
	close(d.done)
}

// adopt takes over a socket that HTTP/1.1's client has opened, and for which ALPN has chosen HTTP/2.
func (c *http2Client) adopt(nc net.Conn) {
	d := &http2Dial{done: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dialing == nil {
		c.dialing = d
	}
	go func() {
		defer c.dialed(d)
		d.conn, d.err = c.begin(d, nc)
	}()
}

// begin makes a socket one of the client's connections.
func (c *http2Client) begin(d *http2Dial, nc net.Conn) (*http2Conn, error) {
	d.socket.Store(true)
	conn, err := newHTTP2Conn(c.transport, nc, c.options)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conn)
	if c.timer == nil && c.options.MaxAge > 0 {
		c.timer = time.AfterFunc(c.options.MaxAge, c.sweep)
	}
	return conn, nil
}

// sweep retires connections that are too old. A timer calls it as long as there are connections.
func (c *http2Client) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.retireOld(now)
	c.timer = nil
	if len(c.conns) > 0 { // the oldest are in front
		c.timer = time.AfterFunc(c.options.MaxAge-now.Sub(c.conns[0].born), c.sweep)
	}
}

func (c *http2Client) retireOld(now time.Time) {
	c.conns = slices.DeleteFunc(c.conns, func(conn *http2Conn) bool {
		over := conn.Err() != nil || now.Sub(conn.born) >= c.options.MaxAge
		if over {
			conn.retire()
		}
		return over
	})
}

// closeIdle closes connections without requests, and the others when their last request has ended. Further requests have connections of their own.
func (c *http2Client) closeIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.retire()
	}
	c.conns, c.closed = nil, true
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

// notProcessed reports whether the server has said, over HTTP/2, that it has done nothing about a request (RFC 9113 section 8.7): any request may be sent again.
func notProcessed(err error) bool {
	if err == nil {
		return false
	}
	var stream streamError
	if errors.As(err, &stream) {
		return stream.Code == refusedStream
	}
	// net/http does not export these.
	switch err.Error() {
	case "http2: Transport received Server's graceful shutdown GOAWAY", "http2: client conn not usable":
		return true
	}
	return false
}

const refusedStream = 0x7

// streamError is what net/http's error of the same name converts itself to, by its fields.
type streamError struct {
	StreamID uint32
	Code     http2Code
	Cause    error
}

type http2Code uint32

func (streamError) Error() string { return "" }
