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

	writeTimed bool // a write deadline is set
	joined     joined
}

// Read implements io.Reader for the http1.Reader. Deadlines of the socket are set lazily: one that has passed may have been for an earlier
// state of the exchange, or be there to begin the watch of the request's context.
func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.readSocket(p)
		if n > 0 {
			c.x.begun.Store(true)
			return n, nil
		}
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, c.x.why(err)
		}
		if err := c.x.overdue(); err != nil {
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

// errNotQuiet is what is found instead of a response on an unused connection on which something has come, or nothing can be written. Nothing has been sent.
var errNotQuiet = errors.New("the unused connection is not sound")

// joins reports whether a request on it can be joined with the read of the response.
func (c *conn) joins() bool { return canJoin && c.socket != nil && c.records == nil && c.uses > 0 }

// write writes a request's beginning.
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

func (c *conn) close() { c.nc.Close() }
