package collapse

import "sync/atomic"

// Budget bounds the bytes that responses on their way into the cache take
// together. When it is used up, responses stream through and are not kept. It
// is safe for concurrent use.
type Budget struct {
	limit, used atomic.Int64
}

// NewBudget makes a budget of limit bytes.
func NewBudget(limit int64) *Budget {
	b := new(Budget)
	b.SetLimit(limit)
	return b
}

// SetLimit changes the limit. What is reserved stays so.
func (b *Budget) SetLimit(limit int64) { b.limit.Store(limit) }

// Take reserves n bytes. It is false, and reserves nothing, if fewer are left.
func (b *Budget) Take(n int64) bool {
	limit := b.limit.Load()
	if n > limit { // which also keeps the sum from overflowing
		return false
	}
	if b.used.Add(n) > limit {
		b.used.Add(-n)
		return false
	}
	return true
}

// Give returns n bytes.
func (b *Budget) Give(n int64) { b.used.Add(-n) }

// Used is the bytes that are reserved.
func (b *Budget) Used() int64 { return b.used.Load() }
