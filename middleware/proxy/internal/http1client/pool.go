package http1client

import (
	"slices"
	"time"
)

// connect gives the exchange an unused connection that is sound as far as can be seen, or a new one.
func (x *exchange) connect(fresh bool) error {
	for !fresh {
		conn := x.client.pop()
		if conn == nil {
			break
		}
		now := time.Now()
		if x.client.goesOn(conn, now) && conn.ready(x.lookUp(now), x.left == 0) {
			x.use(conn)
			return nil
		}
		conn.close()
	}
	return x.dial()
}

// lookUp is when the first read must look up: when the request's time is over, or the watch must begin.
func (x *exchange) lookUp(now time.Time) time.Time {
	first := now.Add(x.client.patience)
	if !x.due.IsZero() && x.due.Before(first) {
		return x.due
	}
	return first
}

func (c *Client) pop() *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.idle) - 1
	if last < 0 {
		return nil
	}
	conn := c.idle[last]
	c.idle[last] = nil
	c.idle = c.idle[:last]
	return conn
}

// put keeps a connection for the next request, or closes it.
func (c *Client) put(conn *conn) {
	conn.since = time.Now()
	if !c.keep(conn) {
		conn.close()
	}
}

func (c *Client) keep(conn *conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.idle) >= c.options.MaxIdle || !c.goesOn(conn, conn.since) {
		return false
	}
	c.idle = append(c.idle, conn)
	if c.timer == nil {
		if left, bounded := c.left(conn, conn.since); bounded {
			c.timer = time.AfterFunc(left, c.sweep)
		}
	}
	return true
}

// goesOn reports whether a connection is neither too old nor has been idle for too long.
func (c *Client) goesOn(conn *conn, now time.Time) bool {
	left, bounded := c.left(conn, now)
	return !bounded || left > 0
}

// left is how long a connection may still be kept unused.
func (c *Client) left(conn *conn, now time.Time) (left time.Duration, bounded bool) {
	o := &c.options
	if o.IdleTimeout > 0 {
		left, bounded = o.IdleTimeout-now.Sub(conn.since), true
	}
	if o.MaxAge > 0 {
		if age := o.MaxAge - now.Sub(conn.born); !bounded || age < left {
			left, bounded = age, true
		}
	}
	return left, bounded
}

// sweep closes unused connections whose time is over. A timer calls it as long as there are unused connections.
func (c *Client) sweep() {
	for _, conn := range c.over(time.Now()) {
		conn.close()
	}
}

func (c *Client) over(now time.Time) (over []*conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := max(c.options.IdleTimeout, c.options.MaxAge)
	c.idle = slices.DeleteFunc(c.idle, func(conn *conn) bool {
		left, _ := c.left(conn, now)
		if left <= 0 {
			over = append(over, conn)
			return true
		}
		next = min(next, left)
		return false
	})
	c.timer = nil
	if len(c.idle) > 0 && !c.closed {
		c.timer = time.AfterFunc(max(next, time.Millisecond), c.sweep)
	}
	return over
}

// CloseIdleConnections closes the unused connections, and those that are in use as they come back. Further requests open connections of
// their own.
func (c *Client) CloseIdleConnections() {
	c.mu.Lock()
	idle := c.idle
	c.idle, c.closed = nil, true
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	c.mu.Unlock()
	for _, conn := range idle {
		conn.close()
	}
}
