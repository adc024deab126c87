package policytest

import (
	"sync"
	"time"
)

// clock is the time of a test. It moves only when a test sets it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now is safe for concurrent use: the cache's background fetches call it.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}
