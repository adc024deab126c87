package ratelimit

// SetRedisClock replaces Redis' clock by the test's, in microseconds.
func (c *Counters) SetRedisClock(now func() int64) { c.redis.clock = now }
