package http1client

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/headgate/headgate/internal/http1"
)

// HTTP2Error is returned in place of a response where ALPN has chosen HTTP/2. Nothing has been sent; the connection is the caller's.
type HTTP2Error struct{ Conn *tls.Conn }

func (e *HTTP2Error) Error() string { return "the server has chosen HTTP/2" }

// dial opens a connection.
func (c *Client) dial(ctx context.Context, http1Only bool) (*conn, error) {
	cfg := c.options.TLS
	if http1Only {
		cfg = c.tls1
	}
	nc, records, err := Dial(ctx, c.options, cfg)
	if err != nil {
		return nil, err
	}
	if records != nil && nc.(*tls.Conn).ConnectionState().NegotiatedProtocol == "h2" {
		return nil, &HTTP2Error{nc.(*tls.Conn)}
	}
	return newConn(c, nc, records), nil
}

// Adopt takes over a connection that another protocol's client has opened, and for which ALPN has chosen HTTP/1.1.
func (c *Client) Adopt(nc net.Conn, records *Records) { c.put(newConn(c, nc, records)) }

// Dial opens a connection to a server, with TLS where cfg is not nil. records are TLS' below it.
func Dial(ctx context.Context, o Options, cfg *tls.Config) (_ net.Conn, records *Records, err error) {
	dialer := net.Dialer{Timeout: o.ConnectTimeout, KeepAlive: o.KeepAlive}
	if o.KeepAlive > 0 {
		dialer.KeepAliveConfig = net.KeepAliveConfig{Enable: true, Idle: o.KeepAlive, Interval: o.KeepAlive}
	}
	nc, err := dialer.DialContext(ctx, "tcp", o.Address)
	if err != nil {
		return nil, nil, cause(ctx, err)
	}
	if cfg == nil {
		return nc, nil, nil
	}
	if o.ConnectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.ConnectTimeout)
		defer cancel()
	}
	records = &Records{Conn: nc}
	secure := tls.Client(records, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, nil, fmt.Errorf("TLS handshake: %w", cause(ctx, err))
	}
	return secure, records, nil
}

// cause prefers why a context has ended to what its end has brought about.
func cause(ctx context.Context, err error) error {
	if why := context.Cause(ctx); why != nil {
		return why
	}
	return err
}

// limits bound the heads of responses.
var limits = http1.Limits{Head: 1 << 20, Fields: 1000}

func newConn(c *Client, nc net.Conn, records *Records) *conn {
	conn := &conn{nc: nc, records: records, born: time.Now()}
	conn.since = conn.born
	tcp := nc
	if records != nil {
		tcp = records.Conn
		state := nc.(*tls.Conn).ConnectionState()
		conn.tls = &state
	}
	if s, ok := tcp.(syscall.Conn); ok {
		conn.socket, _ = s.SyscallConn()
	}
	conn.reader = http1.NewReader(conn, limits)
	conn.interim = func(h *http1.ResponseHead) error { return conn.x.interim(h) }
	return conn
}
