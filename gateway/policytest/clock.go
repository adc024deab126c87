package policytest

import (
	"sync"
	"time"
)

// clock is the time of a test. It moves when it is told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now is safe for concurrent use, as fetches of the cache ask for it.
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
