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
}

// Read implements io.Reader for the http1.Reader. Deadlines of the socket are set lazily: one that has passed may have been for an earlier
// state of the exchange, or be there to begin the watch of the request's context.
func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.nc.Read(p)
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
