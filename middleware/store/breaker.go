package store

import (
	"fmt"
	"sync/atomic"
)

// breakerThreshold is how many pipelines in a row must fail for a breaker to
// open: enough that one lost connection is not taken for an outage.
const breakerThreshold = 3

// breaker keeps callers from waiting for a Redis that does not answer.
//
// It opens after breakerThreshold failures in a row, and is closed by the
// background PING alone: no request is spent on finding out. The zero breaker
// is closed.
type breaker struct {
	failures atomic.Int32
	cause    atomic.Pointer[error] // not nil while open
}

// refusal returns why a call is refused, or nil while the breaker is closed.
func (b *breaker) refusal() error {
	if cause := b.cause.Load(); cause != nil {
		return *cause
	}
	return nil
}

// record counts a pipeline's outcome and reports whether it opened the breaker.
func (b *breaker) record(err error) (opened bool) {
	if err == nil {
		if b.failures.Load() != 0 {
			b.failures.Store(0)
		}
		return false
	}
	if b.failures.Add(1) < breakerThreshold {
		return false
	}
	cause := fmt.Errorf("%w (the breaker is open)", err)
	return b.cause.CompareAndSwap(nil, &cause)
}

func (b *breaker) close() {
	b.failures.Store(0)
	b.cause.Store(nil)
}
