package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// Upgrades keeps the client connections that became WebSockets, of one or more
// upstreams, so that a shutdown can end them: http.Server's does not. It is safe
// for concurrent use.
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

// Drain sends a close frame with 1001 ("going away", RFC 6455 section 7.4.1) to
// the clients of all WebSockets, open and future ones; the clients' close frames
// are passed on to the servers. It returns when all connections have ended. When
// ctx ends, Drain closes those that are left and returns ctx's error. A second
// call does the same again.
func (u *Upgrades) Drain(ctx context.Context) error {
	u.mu.Lock()
	first := !u.draining
	u.draining = true
	for c := range u.conns {
		go c.sendClose(goingAway)
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
		go c.sendClose(goingAway)
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

// upgradedConn is the client's side of a WebSocket. It follows the frames that
// the server sends, since the gateway's own close frame must not be written
// inside another frame.
type upgradedConn struct {
	net.Conn
	early    *bufio.Reader // what the client sent ahead of the 101
	registry *Upgrades
	added    sync.Once
	client   clientFrames

	mu        sync.Mutex // held during writes
	frames    frameScanner
	closing   uint16 // the status of the gateway's close frame, which is to be sent, or has been; 0: none
	closeSent bool   // it has been sent
	ended     bool   // the client has been told that no more is coming
}

func newUpgradedConn(conn net.Conn, early *bufio.Reader, registry *Upgrades, server io.Writer) *upgradedConn {
	return &upgradedConn{Conn: conn, early: early, registry: registry, client: clientFrames{server: server}}
}

// begin adds the connection to the registry. It runs when the copying begins,
// after the 101 has been sent, since no close frame may precede it.
func (c *upgradedConn) begin() { c.added.Do(func() { c.registry.add(c) }) }

// Close closes the connection and removes it from the registry.
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

// CloseWrite tells the client that no more is coming.
func (c *upgradedConn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	return closeWriteOf(c.Conn)()
}

// toldToClose reports whether the gateway's close frame has been sent, or is about to be.
func (c *upgradedConn) toldToClose() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing != 0
}

// Write passes on what the server sent, until the gateway's close frame has been
// sent: no data may follow it (RFC 6455 section 5.5.1), so the rest is dropped.
func (c *upgradedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := p
	for len(rest) > 0 && !c.closeSent {
		n := len(rest)
		if c.closing != 0 {
			n = c.frames.skipFrame(rest) // up to the end of the frame; then the close frame
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

// sendClose sends the close frame, or leaves it to Write if a frame is only
// partly written. Only the first status is sent. A client that can't be sent one any
// more is not waited for, unless it is still sending.
func (c *upgradedConn) sendClose(status uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing == 0 {
		c.closing = status
	}
	if c.ended {
		_ = c.Conn.SetReadDeadline(time.Now().Add(closing)) // a closed connection will tell the read
	}
	_ = c.closeAtBoundary() // the copying gets the same error
}

func (c *upgradedConn) closeAtBoundary() error {
	if c.closing == 0 || c.closeSent || c.ended || !c.frames.atBoundary() {
		return nil
	}
	c.closeSent = true
	_, err := c.Conn.Write(closeFrame(c.closing))
	return err
}
