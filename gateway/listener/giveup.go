package listener

import (
	"slices"
	"time"

	"golang.org/x/net/http2"
)

// giveUp closes at most n connections on which nothing is under way, those first that have been quiet for longest, and
// returns how many. They count no more when it returns.
func (s *conns) giveUp(n int) (given int) {
	type quiet struct {
		conn  tracked
		since time.Time
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []quiet
	for c, opened := range s.open {
		if since, is := c.quietSince(opened); is {
			found = append(found, quiet{c, since})
		}
	}
	slices.SortFunc(found, func(a, b quiet) int { return a.since.Compare(b.since) })
	for _, q := range found {
		if given == n {
			break
		}
		if q.conn.giveUp() {
			delete(s.open, q.conn)
			given++
		}
	}
	return given
}

// silent is how long a new connection that has said nothing is left alone.
const silent = time.Second

// quietSince implements tracked: between two requests, or before the first one.
func (c *http1Conn) quietSince(opened time.Time) (time.Time, bool) {
	switch c.state.Load() {
	case connIdle:
		return c.deadline.ours().Add(-c.server.options.IdleTimeout), true
	case connNew:
		return opened, time.Since(opened) > silent
	}
	return time.Time{}, false
}

// giveUp implements tracked.
func (c *http1Conn) giveUp() bool {
	if !c.state.CompareAndSwap(connIdle, connClosed) && !c.state.CompareAndSwap(connNew, connClosed) {
		return false
	}
	c.socket.uncount()
	go c.Conn.Close() // over TLS it says goodbye, which may take a while
	return true
}

// quietSince implements tracked: no handler runs.
func (c *http2Conn) quietSince(opened time.Time) (time.Time, bool) {
	if !c.in.prefaced.Load() {
		return opened, time.Since(opened) > silent
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.idleSince, c.serving == 0 && !c.over
}

// giveUp implements tracked. A client that opens a stream just then learns that it was not served.
func (c *http2Conn) giveUp() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || c.serving > 0 || c.writing {
		return false
	}
	c.over = true
	c.appendGoAway(c.last, http2.ErrCodeNo, "")
	c.socket.uncount()
	go c.leave()
	return true
}

// leave sends what is left to send, and closes the connection.
func (c *http2Conn) leave() {
	_ = c.socket.SetWriteDeadline(time.Now().Add(goodbye)) // the client may take nothing
	c.mu.Lock()
	c.flush()
	c.mu.Unlock()
	c.Conn.Close()
}
