package proxy

import (
	"sync/atomic"
	"time"
)

// clock is a transaction's one deadline for the response's header, over all tries, and that of each try. They start again with each piece of the
// request's body that comes from the client: before that, it is not the servers' turn.
type clock struct {
	timeout time.Duration // of all tries; not positive: there is no deadline
	try     time.Duration // of each; not positive: none has one of its own
	began   time.Time
	turn    atomic.Int64 // when the servers' turn began last, in nanoseconds behind began
}

func (c *clock) start(timeout, try time.Duration) {
	c.timeout, c.try = timeout, try
	if timeout > 0 || try > 0 {
		c.began = time.Now()
	}
}

// restart is called when the client has sent a piece of the body.
func (c *clock) restart() {
	if c.timeout > 0 || c.try > 0 {
		c.turn.Store(int64(time.Since(c.began)))
	}
}

// deadline is that of all tries. It is zero where there is none.
func (c *clock) deadline() time.Time {
	if c.timeout <= 0 {
		return time.Time{}
	}
	return c.began.Add(time.Duration(c.turn.Load()) + c.timeout)
}

// startTry returns when a try begins, as tryDeadline takes it.
func (c *clock) startTry() int64 {
	if c.try <= 0 {
		return 0
	}
	return int64(time.Since(c.began))
}

// tryDeadline is that of a try: its own, unless all of them end before.
func (c *clock) tryDeadline(began int64) time.Time {
	all := c.deadline()
	if c.try <= 0 {
		return all
	}
	own := c.began.Add(time.Duration(max(began, c.turn.Load())) + c.try)
	if all.IsZero() || own.Before(all) {
		return own
	}
	return all
}

func (c *clock) passed() bool { return c.timeout > 0 && !time.Now().Before(c.deadline()) }
