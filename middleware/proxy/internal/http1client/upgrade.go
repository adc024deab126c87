package http1client

import (
	"io"
	"net"
	"net/http"
	"time"
)

// upgrade hands the connection over to another protocol.
func (x *exchange) upgrade() (*http.Response, error) {
	if len(x.req.Header["Upgrade"]) == 0 || x.upload != nil {
		return nil, x.fail(errUnaskedUpgrade)
	}
	if !x.unwatch() {
		return nil, x.fail(x.req.Context().Err())
	}
	x.fill()
	nc := x.conn.nc
	_ = nc.SetDeadline(time.Time{})
	x.res.Body = &Upgraded{Conn: nc, ahead: append([]byte(nil), x.conn.reader.Buffered()...)}
	x.over = true
	closeBody(x.req)
	return &x.res, nil
}

// Upgraded is the body of a 101 (Switching Protocols) response: the connection.
type Upgraded struct {
	net.Conn
	ahead []byte // what has come with the response
}

// Read implements io.Reader.
func (u *Upgraded) Read(p []byte) (int, error) {
	if len(u.ahead) > 0 {
		n := copy(p, u.ahead)
		u.ahead = u.ahead[n:]
		return n, nil
	}
	return u.Conn.Read(p)
}

// CloseWrite tells the server that no more is coming, where the connection can.
func (u *Upgraded) CloseWrite() error {
	if c, ok := u.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return http.ErrNotSupported
}

var _ io.ReadWriteCloser = (*Upgraded)(nil)
