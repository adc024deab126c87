package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"sync"
)

// Upgrades keeps the client connections that became WebSockets, of however
// many upstreams: net/http forgets about them, and a shutdown has to end them.
// It is safe for concurrent use.
type Upgrades struct {
	mu       sync.Mutex
	conns    map[*upgradedConn]struct{}
	draining bool
	empty    chan struct{} // closed when draining and none is left
}

// NewUpgrades returns an empty registry.
func NewUpgrades() *Upgrades {
	return &Upgrades{conns: make(map[*upgradedConn]struct{}), empty: make(chan struct{})}
}

// Len returns how many connections are open.
func (u *Upgrades) Len() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.conns)
}

// Drain asks the clients of all WebSockets to go (a close frame with 1001,
// "going away", RFC 6455 section 7.4.1; their answer is passed on to the
// servers), now and of those yet to come. It returns when all have ended.
// Those that have not when ctx ends are cut off, and the error is ctx's. A
// second call does the same again.
func (u *Upgrades) Drain(ctx context.Context) error {
	u.mu.Lock()
	first := !u.draining
	u.draining = true
	for c := range u.conns {
		go c.sayGoodbye()
	}
	if first && len(u.conns) == 0 {
		close(u.empty)
	}
	u.mu.Unlock()

	select {
	case <-u.empty:
		return nil
	case <-ctx.Done():
	}
	u.mu.Lock()
	left := make([]*upgradedConn, 0, len(u.conns))
	for c := range u.conns {
		left = append(left, c)
	}
	u.mu.Unlock()
	for _, c := range left {
		c.Close()
	}
	if len(left) == 0 {
		return nil
	}
	return context.Cause(ctx)
}

func (u *Upgrades) add(c *upgradedConn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.conns[c] = struct{}{}
	if u.draining {
		go c.sayGoodbye()
	}
}

func (u *Upgrades) remove(c *upgradedConn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, ok := u.conns[c]; !ok {
		return
	}
	delete(u.conns, c)
	if u.draining && len(u.conns) == 0 {
		select {
		case <-u.empty:
		default:
			close(u.empty)
		}
	}
}

// upgradedConn is the client's side of a WebSocket. What is written
// to it comes from the server, and is watched for where a frame ends: a close
// frame of our own must not come to lie within another.
type upgradedConn struct {
	net.Conn
	early    *bufio.Reader // what the client sent ahead of the 101
	registry *Upgrades
	added    sync.Once

	mu      sync.Mutex // held during writes
	frames  frameScanner
	goodbye bool // a close frame of ours is to be sent, or has been
	said    bool
}

func newUpgradedConn(conn net.Conn, early *bufio.Reader, registry *Upgrades) *upgradedConn {
	return &upgradedConn{Conn: conn, early: early, registry: registry}
}

// begin enters the connection into the registry. It runs as the copying
// begins, when the 101 has been sent: no close frame may come before it.
func (c *upgradedConn) begin() { c.added.Do(func() { c.registry.add(c) }) }

// Close closes the connection and takes it off the registry.
func (c *upgradedConn) Close() error {
	c.registry.remove(c)
	return c.Conn.Close()
}

func (c *upgradedConn) Read(p []byte) (int, error) {
	if n := c.early.Buffered(); n > 0 {
		return c.early.Read(p[:min(n, len(p))])
	}
	return c.Conn.Read(p)
}

// WriteTo and ReadFrom are the two directions of the copying. They exist for
// the size of its buffers: most of these connections are quiet, and many.

func (c *upgradedConn) WriteTo(dst io.Writer) (int64, error) {
	c.begin()
	return copyGrowing(dst, c)
}

func (c *upgradedConn) ReadFrom(src io.Reader) (int64, error) {
	c.begin()
	return copyGrowing(c, src)
}

// copyGrowing copies with a small buffer that becomes a large one once there
// is enough to fill it.
func copyGrowing(dst io.Writer, src io.Reader) (int64, error) {
	buf := make([]byte, 4<<10)
	var written int64
	for {
		n, err := src.Read(buf)
		if n > 0 {
			m, werr := dst.Write(buf[:n])
			written += int64(m)
			if werr != nil {
				return written, werr
			}
		}
		if err == io.EOF {
			return written, nil
		}
		if err != nil {
			return written, err
		}
		if n == len(buf) && n < copyBuffer {
			buf = make([]byte, copyBuffer)
		}
	}
}

// Write passes on what the server sent, up to our close frame: after that no
// more data may follow (RFC 6455 section 5.5.1), and the rest is dropped.
func (c *upgradedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := p
	for len(rest) > 0 && !c.said {
		n := len(rest)
		if c.goodbye {
			n = c.frames.skipFrame(rest) // up to the frame's end, then us
		} else {
			c.frames.skip(rest)
		}
		if _, err := c.Conn.Write(rest[:n]); err != nil {
			return len(p) - len(rest), err
		}
		rest = rest[n:]
		if err := c.closeAtBoundary(); err != nil {
			return len(p) - len(rest), err
		}
	}
	return len(p), nil
}

// sayGoodbye sends the close frame, or leaves it to Write if a frame is only
// half written.
func (c *upgradedConn) sayGoodbye() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.goodbye = true
	_ = c.closeAtBoundary() // the copying will meet the same error
}

func (c *upgradedConn) closeAtBoundary() error {
	if !c.goodbye || c.said || !c.frames.atBoundary() {
		return nil
	}
	c.said = true
	_, err := c.Conn.Write(goingAway())
	return err
}
