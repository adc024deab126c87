package cache

import "sync/atomic"

// budget bounds the bytes that responses on their way into the cache take
// together. When it is used up, responses stream through and are not kept.
type budget struct {
	limit int64
	used  atomic.Int64
}

func (b *budget) take(n int64) bool {
	if n > b.limit { // which also keeps the sum from overflowing
		return false
	}
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.used.Add(-n) }
