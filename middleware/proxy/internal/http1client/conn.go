package http1client

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/headgate/headgate/internal/http1"
)

// conn is a connection to the server. One exchange at a time uses it.
type conn struct {
	nc      net.Conn
	records *Records             // below nc; nil without TLS
	tls     *tls.ConnectionState // nil without TLS
	socket  syscall.RawConn      // nil where it can't be looked at
	reader  *http1.Reader
	interim func(*http1.ResponseHead) error

	born  time.Time
	since time.Time // when it was last used
	uses  int       // by requests that have ended
	x     *exchange // the one under way

	readBy     time.Time // the socket's deadline for reads; zero: there is none
	writeTimed bool      // a write deadline is set
	joined     joined
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

// use makes the connection the exchange's.
func (x *exchange) use(c *conn) {
	x.conn, c.x = c, x
	x.reused = c.uses > 0
	x.begun.Store(false)
}

// setReadBy sets the socket's deadline for reads.
func (c *conn) setReadBy(t time.Time) {
	c.readBy = t
	_ = c.nc.SetReadDeadline(t)
}

// joins reports whether a request on it can be joined with the read of the response.
func (c *conn) joins() bool { return canJoin && c.socket != nil && c.records == nil && c.uses > 0 }

// errDead is found instead of a response on an unused connection on which something has come, or nothing can be written. Nothing has been sent.
var errDead = errors.New("the unused connection is dead")

// send writes the request's beginning, or leaves it to the first read, and has the rest of the body follow.
func (x *exchange) send(out []byte) error {
	c := x.conn
	if x.left == 0 && c.joins() {
		c.joined.out = out
		return nil
	}
	n, err := c.write(out, x.due)
	x.sent = n > 0
	switch {
	case err != nil && n == 0 && c.uses > 0 && !errors.Is(err, ErrTimeout):
		return errDead
	case err == nil && x.left != 0:
		x.startUpload()
	}
	return err
}

func (c *conn) write(b []byte, due time.Time) (int, error) {
	if !due.IsZero() || c.writeTimed {
		_ = c.nc.SetWriteDeadline(due)
		c.writeTimed = !due.IsZero()
	}
	n, err := c.nc.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ErrTimeout
	}
	return n, err
}

// Read implements io.Reader for the http1.Reader. Deadlines of the socket are set lazily: one that has passed may have been for an earlier
// state of the exchange, or be there to begin the watch of the request's context.
func (c *conn) Read(p []byte) (int, error) {
	x := c.x
	if x.headed {
		x.allowSilence()
	}
	for {
		n, err := c.readSocket(p)
		if n > 0 {
			x.begun.Store(true)
			return n, nil
		}
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, x.why(err)
		}
		if err := x.overdue(); err != nil {
			return 0, err
		}
	}
}

func (c *conn) readSocket(p []byte) (int, error) {
	if c.joined.out != nil {
		return c.joined.read(c, p)
	}
	return c.nc.Read(p)
}

func (c *conn) close() { c.nc.Close() }
