package http1client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// HTTP2Error is returned in place of a response where ALPN has chosen HTTP/2. Nothing has been sent; the connection is the caller's.
type HTTP2Error struct{ Conn *tls.Conn }

func (e *HTTP2Error) Error() string { return "the server has chosen HTTP/2" }

// dial opens a connection for the exchange.
func (x *exchange) dial() error {
	ctx := x.req.Context()
	if !x.due.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, x.due, ErrTimeout)
		defer cancel()
	}
	c := x.client
	cfg := c.options.TLS
	if len(x.req.Header["Upgrade"]) > 0 {
		cfg = c.tls1
	}
	nc, records, err := Dial(ctx, c.options, cfg)
	if err != nil {
		return err
	}
	if records != nil && nc.(*tls.Conn).ConnectionState().NegotiatedProtocol == "h2" {
		return &HTTP2Error{nc.(*tls.Conn)}
	}
	x.use(newConn(c, nc, records))
	x.conn.setReadBy(x.lookUp(time.Now()))
	return nil
}

// Adopt takes over a connection that another protocol's client has opened, and for which ALPN has chosen HTTP/1.1.
func (c *Client) Adopt(nc net.Conn, records *Records) { c.put(newConn(c, nc, records)) }

// Dial opens a connection to a server, with TLS where cfg is not nil. records are TLS' below it.
func Dial(ctx context.Context, o Options, cfg *tls.Config) (_ net.Conn, records *Records, err error) {
	dialer := net.Dialer{Timeout: o.ConnectTimeout, KeepAlive: o.KeepAlive}
	if o.KeepAlive > 0 {
		dialer.KeepAliveConfig = net.KeepAliveConfig{Enable: true, Idle: o.KeepAlive, Interval: o.KeepAlive}
	}
	nc, err := connect(ctx, &dialer, cmp.Or(o.Network, "tcp"), o.Address)
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

// connect opens a connection. Where the queue of a Unix socket is full, the kernel refuses instead of waiting as with TCP, so that the wait is here.
func connect(ctx context.Context, dialer *net.Dialer, network, address string) (net.Conn, error) {
	began := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		nc, err := dialer.DialContext(ctx, network, address)
		if !errors.Is(err, syscall.EAGAIN) || dialer.Timeout > 0 && time.Since(began) >= dialer.Timeout {
			return nc, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause):
		}
	}
}

// cause prefers why a context has ended to what its end has brought about.
func cause(ctx context.Context, err error) error {
	if why := context.Cause(ctx); why != nil {
		return why
	}
	return err
}
