package proxy

import (
	"sync/atomic"
	"time"
)

// clock is a transaction's one deadline for the response's header, over all tries. It begins anew with each piece of the request's body
// that comes from the client: before that, it is not the servers' turn.
type clock struct {
	timeout time.Duration // not positive: there is no deadline
	began   time.Time
	due     atomic.Int64 // behind began, in nanoseconds
}

func (c *clock) start(timeout time.Duration) {
	c.timeout = timeout
	if timeout > 0 {
		c.began = time.Now()
		c.due.Store(int64(timeout))
	}
}

// restart is called when the client has sent a piece of the body.
func (c *clock) restart() {
	if c.timeout > 0 {
		c.due.Store(int64(time.Since(c.began) + c.timeout))
	}
}

// deadline is zero where there is none.
func (c *clock) deadline() time.Time {
	if c.timeout <= 0 {
		return time.Time{}
	}
	return c.began.Add(time.Duration(c.due.Load()))
}

func (c *clock) passed() bool { return c.timeout > 0 && !time.Now().Before(c.deadline()) }
