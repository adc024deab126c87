package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/headgate/headgate/middleware/proxy/internal/http1client"
)

// http2Client sends requests to one server over HTTP/2. net/http has the protocol in hand; its own pool would send what a server refuses again by itself,
// to the same server and with pauses of seconds.
type http2Client struct {
	options   http1client.Options
	transport *http.Transport // makes connections of sockets
	scheme    string
	// toHTTP1 takes connections for which ALPN has chosen HTTP/1.1. Nil: it is not offered.
	toHTTP1 func(net.Conn, *http1client.Records)

	mu      sync.Mutex
	conns   []*http.ClientConn
	dialing *http2Dial // nil: none is under way
}

// http2Dial is an attempt to open a connection, which several requests may wait for.
type http2Dial struct {
	done chan struct{}
	err  error
}

// errHTTP1 is returned in place of a response where ALPN has chosen HTTP/1.1. Nothing has been sent.
var errHTTP1 = errors.New("the server has chosen HTTP/1.1")

type socketKey struct{}

func newHTTP2Client(o http1client.Options, p Protocol) *http2Client {
	c := &http2Client{options: o, scheme: "https"}
	given := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return ctx.Value(socketKey{}).(net.Conn), nil
	}
	c.transport = &http.Transport{
		DialContext: given, DialTLSContext: given,
		IdleConnTimeout:        o.IdleTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
		DisableCompression:     true, // what the client asked for is what the server is asked for
		Protocols:              new(http.Protocols),
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	if p == H2C {
		c.scheme = "http"
		c.transport.Protocols.SetUnencryptedHTTP2(true)
	} else {
		c.transport.Protocols.SetHTTP2(true)
	}
	return c
}

// RoundTrip implements http.RoundTripper.
func (c *http2Client) RoundTrip(req *http.Request) (*http.Response, error) {
	return c.send(req, func() {})
}

// send sends a request once, and calls connected when there is a connection for it.
func (c *http2Client) send(req *http.Request, connected func()) (*http.Response, error) {
	conn, err := c.reserve(req.Context())
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	connected()
	return conn.RoundTrip(req)
}

// reserve takes a place for a request on a connection, or waits for a new one.
func (c *http2Client) reserve(ctx context.Context) (*http.ClientConn, error) {
	for {
		conn, dial := c.free(ctx)
		if conn != nil {
			return conn, nil
		}
		select {
		case <-dial.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if dial.err != nil {
			return nil, dial.err
		}
	}
}

// free returns a connection with a place, which is taken then, or else the dial under way.
func (c *http2Client) free(ctx context.Context) (*http.ClientConn, *http2Dial) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = slices.DeleteFunc(c.conns, func(conn *http.ClientConn) bool { return conn.Err() != nil })
	for _, conn := range c.conns {
		if conn.Reserve() == nil {
			return conn, nil
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
	defer close(d.done)
	d.err = c.open(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dialing = nil
}

func (c *http2Client) open(ctx context.Context) error {
	nc, records, err := http1client.Dial(ctx, c.options, c.options.TLS)
	if err != nil {
		return err
	}
	if records == nil {
		return c.adopt(nc)
	}
	switch chosen := nc.(*tls.Conn).ConnectionState().NegotiatedProtocol; {
	case chosen == "h2":
		return c.adopt(nc)
	case c.toHTTP1 != nil:
		c.toHTTP1(nc, records)
		return errHTTP1
	}
	nc.Close()
	return errors.New("the server does not speak HTTP/2")
}

// adopt makes a socket one of the client's connections.
func (c *http2Client) adopt(nc net.Conn) error {
	conn, err := c.transport.NewClientConn(context.WithValue(context.Background(), socketKey{}, nc), c.scheme, c.options.Address)
	if err != nil {
		nc.Close()
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conn)
	return nil
}

// closeIdle closes connections without requests, and the others as their last request ends.
func (c *http2Client) closeIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.SetStateHook(closeUnusedConn)
		closeUnusedConn(conn)
	}
}

func closeUnusedConn(conn *http.ClientConn) {
	if conn.InFlight() == 0 {
		conn.Close()
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
