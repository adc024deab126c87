package spool

import "sync/atomic"

// budget counts bytes against a limit. It is safe for concurrent use.
type budget struct{ limit, used atomic.Int64 }

// take counts n bytes, unless that would exceed the limit.
func (b *budget) take(n int64) bool {
	for {
		used := b.used.Load()
		if used+n > b.limit.Load() {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

func (b *budget) give(n int64) { b.used.Add(-n) }

// SetLimit changes the limit, in bytes. What is in use beyond a smaller one
// stays in use until its body gives it back.
func (b *budget) SetLimit(limit int64) { b.limit.Store(limit) }

// Used is how many bytes are in use.
func (b *budget) Used() int64 { return b.used.Load() }
