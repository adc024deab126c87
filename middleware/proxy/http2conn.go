package proxy

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/headgate/headgate/middleware/proxy/internal/http1client"
)

func newHTTP2Client(o http1client.Options) *http2Client {
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return ctx.Value(socketKey{}).(net.Conn), nil
		},
		IdleConnTimeout:        o.IdleTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
		DisableCompression:     true, // what the client asked for is what the server is asked for
		Protocols:              new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: pingAfter, PingTimeout: pingTimeout,
			MaxReceiveBufferPerStream: maxUnread,
		},
	}
	if o.MaxIdle == 0 { // a connection closes with its last request, or soon if it never has one
		t.DisableKeepAlives, t.IdleConnTimeout = true, DefaultIdleTimeout
	}
	t.Protocols.SetUnencryptedHTTP2(true) // TLS, if any, is below
	return &http2Client{options: o, transport: t}
}

type socketKey struct{}

// maxUnread is how many bytes of a response a server may send ahead of what is read of it, over HTTP/2: what a slow client holds of the gateway's memory where
// nothing is read ahead for it. With it a server that is 10 ms away may send 100 MB/s. There is no such bound for all streams of a connection
// together, since slow ones would then stop the others.
const maxUnread = 1 << 20

const (
	// pingAfter is after which silence a server is asked, over HTTP/2, whether it is still there. gRPC servers close connections on
	// which they are asked more often than every five minutes. The kernel asks sooner, see Config.TCPKeepalive and lossTimeout.
	pingAfter   = 5*time.Minute + 15*time.Second
	pingTimeout = 10 * time.Second
)

// http2Conn is a connection of which the server's SETTINGS are known, so that no more requests are given to it than it allows.
type http2Conn struct {
	*http.ClientConn
	born time.Time
}

// newHTTP2Conn makes a connection of a socket, and closes that where it fails.
func newHTTP2Conn(t *http.Transport, nc net.Conn, o http1client.Options) (*http2Conn, error) {
	p := &preface{Conn: nc, over: make(chan struct{})}
	if o.ConnectTimeout > 0 {
		timer := time.AfterFunc(o.ConnectTimeout, func() { p.fail(errNoSettings) })
		defer timer.Stop()
	}
	conn, err := t.NewClientConn(context.WithValue(context.Background(), socketKey{}, p.conn()), "http", "server:0")
	if err != nil {
		p.fail(err)
		return nil, p.err
	}
	if <-p.over; p.err != nil {
		conn.Close()
		return nil, p.err
	}
	boundLoss(p.socket())
	return &http2Conn{conn, time.Now()}, nil
}

// useless reports whether a connection has no request and takes none.
func (c *http2Conn) useless() bool {
	return c.Err() != nil || c.Available() == 0 && c.InFlight() == 0
}

// retire closes a connection when its last request has ended. It must be given none after this.
func (c *http2Conn) retire() {
	closeUnused := func(conn *http.ClientConn) {
		if conn.InFlight() == 0 {
			conn.Close()
		}
	}
	c.SetStateHook(closeUnused) // which calls it at once only if something has changed
	closeUnused(c.ClientConn)
}
