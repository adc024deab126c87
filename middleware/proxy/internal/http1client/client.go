package http1client

import (
	"crypto/tls"
	"errors"
	"net/http"
	"sync"
	"time"
)

// Options say how a Client reaches its server. Address is required.
type Options struct {
	Network string      // of net.Dial: "tcp" or "unix". Empty: "tcp"
	Address string      // host:port, or a socket's path
	TLS     *tls.Config // nil: without TLS. ServerName must be set; NextProtos is what ALPN offers

	ConnectTimeout time.Duration // of the TCP connect, and once more of the TLS handshake. Zero: no bound
	IdleTimeout    time.Duration // how long an unused connection is kept. Zero: no bound
	MaxAge         time.Duration // a connection that is older takes no further request. Zero: no bound
	KeepAlive      time.Duration // until the first TCP keep-alive probe, and between them. Zero: Go's default; negative: none
	MaxIdle        int           // unused connections that are kept. Zero: none
}

// Client sends requests to one server over HTTP/1.1, and keeps its unused connections. It is safe for concurrent use.
type Client struct {
	options  Options
	tls1     *tls.Config // for what HTTP/2 has no form for: ALPN offers HTTP/1.1 alone
	patience time.Duration

	mu     sync.Mutex
	idle   []*conn // the one that was used last is at the end
	timer  *time.Timer
	closed bool

	expect expectations
}

// New returns a Client. It opens no connection.
func New(o Options) *Client {
	c := &Client{options: o, patience: patience}
	if o.TLS != nil {
		c.tls1 = o.TLS.Clone()
		c.tls1.NextProtos = []string{"http/1.1"}
	}
	return c
}

// patience is how long a server may take until the client watches the request's context. Most servers answer sooner, and for those
// requests the watch is never begun: with the gateway's listener it costs a goroutine.
const patience = 10 * time.Millisecond

// Caller is on whose behalf a request is sent.
type Caller interface {
	// Deadline is when the final response's head must have come. It is asked for at the beginning, and again whenever a piece of the
	// request's body has been read; during these reads there is none. Zero: no bound. It must be safe for concurrent use.
	Deadline() time.Time
	// Silence is how long the server may be silent within the response's body. Zero: no bound. It is asked for before each wait for more of
	// the body.
	Silence() time.Duration
	// Interim takes a 1xx response. It is not called for 100 (Continue), nor once Do has returned. Its error ends the request.
	Interim(status int, header http.Header) error
}

// ErrTimeout is why a request fails whose deadline has passed, or whose response's body the server has been silent in for too long.
var ErrTimeout = errors.New("the server did not answer in time")

// Error is why a request got no response.
type Error struct {
	Err error

	Connected bool // there was a connection
	Reused    bool // it had been used before
	Sent      bool // some of the request may have reached the server
	Begun     bool // some of a response has come, interim responses included
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// RoundTrip implements http.RoundTripper. The context's deadline is the only one.
func (c *Client) RoundTrip(req *http.Request) (*http.Response, error) {
	return c.Do(req, untimed{}, false)
}

type untimed struct{}

func (untimed) Deadline() time.Time            { return time.Time{} }
func (untimed) Silence() time.Duration         { return 0 }
func (untimed) Interim(int, http.Header) error { return nil }

// Do sends a request and returns the response as soon as its head has come, as an http.RoundTripper does: the body must be closed, or read to
// its end. An error is an *Error; behind it may be an *HTTP2Error. fresh has it open a connection rather than take an unused one.
//
// The request's body may go on being sent while the response's is read; both end when the response's body is closed. Do never sends a request
// twice, but for one of which no byte could be written to a connection that turned out to be dead.
func (c *Client) Do(req *http.Request, caller Caller, fresh bool) (*http.Response, error) {
	x := &exchange{client: c, req: req, caller: caller, due: caller.Deadline()}
	buf := requestBuffers.Get().(*[requestBuffer]byte)
	defer requestBuffers.Put(buf)
	out, err := x.prepare(buf[:0])
	if err != nil {
		return nil, x.fail(err)
	}
	for { // twice at most: a fresh connection is not dead before its first request
		err := x.connect(fresh)
		if err == nil {
			err = x.send(out)
		}
		if err == nil {
			err = x.conn.reader.ReadResponse(&x.head, req.Method, x.conn.interim)
		}
		if err == nil {
			return x.respond()
		}
		if err != errDead || !x.unwatch() {
			return nil, x.fail(err)
		}
		x.conn.close()
		x.conn, fresh = nil, true // those that are left may be dead too
	}
}
