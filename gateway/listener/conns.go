package listener

import (
	"context"
	"sync"
	"time"
)

// conns are the connections that are being served.
type conns struct {
	mu   sync.Mutex
	open map[tracked]time.Time // since when
	ends time.Time             // no more are taken since then
}

// tracked is a connection of either protocol.
type tracked interface {
	// drain closes the connection when nothing is under way on it: it was accepted then, and the server has been going
	// since ends. It is called until it says that the connection is closed.
	drain(since, ends time.Time) (closed bool)
	// quietSince says since when nothing has been under way on the connection, which was accepted then, and whether that is so.
	quietSince(opened time.Time) (time.Time, bool)
	// giveUp closes the connection, and counts it no more, unless something is under way on it.
	giveUp() bool
	// abort closes the connection at once.
	abort()
}

// add takes a connection, unless the server is being closed.
func (s *conns) add(c tracked) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ends.IsZero() {
		return false
	}
	if s.open == nil {
		s.open = map[tracked]time.Time{}
	}
	s.open[c] = time.Now()
	return true
}

// remove forgets a connection: it has ended, or was handed to HTTP/2 or to a hijacker.
func (s *conns) remove(c tracked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// drain implements tracked: it closes a connection between two requests, one that lingers after a moment.
func (c *http1Conn) drain(since, ends time.Time) (closed bool) {
	if c.state.CompareAndSwap(connIdle, connClosed) ||
		time.Since(since) > patience && c.state.CompareAndSwap(connNew, connClosed) ||
		time.Since(ends) > lingerPause && c.state.CompareAndSwap(connLingering, connClosed) {
		go c.Conn.Close() // over TLS it says goodbye, which may take a while
	}
	return c.state.Load() == connClosed
}

// abort implements tracked.
func (c *http1Conn) abort() {
	c.socket.Close() // not c.Conn: TLS would say goodbye first, and wait for a write under way
	c.watch.leave()
}

// patience is how long a connection that has said nothing yet is given to, when the
// server goes: a request may be on its way.
const patience = 5 * time.Second

// closeIdle closes the connections on which nothing is under way, and reports whether there are no others.
func (s *conns) closeIdle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ends.IsZero() {
		s.ends = time.Now()
	}
	for c, since := range s.open {
		if c.drain(since, s.ends) {
			delete(s.open, c)
		}
	}
	return len(s.open) == 0
}

// drain closes connections as they become idle, until there are none or ctx ends.
func (s *conns) drain(ctx context.Context) error {
	for pause := time.Millisecond; !s.closeIdle(); pause = min(2*pause, 500*time.Millisecond) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// close closes all of them at once.
func (s *conns) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends = time.Now()
	for c := range s.open {
		c.abort()
	}
}
