package store

import (
	"fmt"
	"sync/atomic"
	"time"
)

// breakerThreshold is how many pipelines in a row must fail for a breaker to
// open: enough that one lost connection is not taken for an outage.
const breakerThreshold = 3

// breaker keeps callers from waiting for a Redis that does not answer.
//
// It opens after breakerThreshold failures in a row, and is closed by the
// background probe alone: no request is spent on finding out. One failure
// right after that opens it again, and then it stays open for longer each
// time: a Redis that answers the probe and nothing else must not cost callers
// their timeout again and again. The zero breaker is closed.
type breaker struct {
	failures atomic.Int32
	openings atomic.Int32          // since a pipeline last succeeded
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
			b.openings.Store(0)
		}
		return false
	}
	if b.failures.Add(1) < breakerThreshold {
		return false
	}
	cause := fmt.Errorf("%w (the breaker is open)", err)
	if !b.cause.CompareAndSwap(nil, &cause) {
		return false
	}
	b.openings.Add(1)
	return true
}

// firstProbe is how long after it opened the breaker is probed first.
func (b *breaker) firstProbe() time.Duration {
	// A pipeline that was under way may have succeeded since: then it is 0.
	again := max(b.openings.Load(), 1) - 1
	return min(50*time.Millisecond<<min(again, 10), 10*time.Second)
}

func (b *breaker) close() {
	b.failures.Store(breakerThreshold - 1)
	b.cause.Store(nil)
}
