package store

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// breakerThreshold is how many round trips in a row must fail for a breaker to
// open. One lost connection does not open it.
const breakerThreshold = 3

// breaker makes calls fail at once while Redis does not reply.
//
// It opens after breakerThreshold failures in a row, and only the background
// probe closes it, so that no request has to wait to find out. One failure right
// after that opens it again, and it then stays open for longer each time:
// otherwise a Redis that replies to the probe and to nothing else would cost
// callers their timeout again and again. The zero breaker is closed.
type breaker struct {
	failures atomic.Int32
	openings atomic.Int32          // since a round trip last succeeded
	cause    atomic.Pointer[error] // not nil while open
}

// refusal returns why a call is refused, or nil while the breaker is closed.
func (b *breaker) refusal() error {
	if cause := b.cause.Load(); cause != nil {
		return *cause
	}
	return nil
}

// record counts a round trip and reports whether it opened the breaker.
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
	return b.trip(err)
}

// trip opens the breaker, and reports whether it was closed.
func (b *breaker) trip(err error) bool {
	cause := openBecause(err)
	if !b.cause.CompareAndSwap(nil, &cause) {
		return false
	}
	b.openings.Add(1)
	return true
}

// explain replaces the cause of an open breaker by what a probe has found since, and reports
// whether that is another one.
func (b *breaker) explain(err error) bool {
	before, cause := b.cause.Load(), openBecause(err)
	return before != nil && (*before).Error() != cause.Error() && b.cause.CompareAndSwap(before, &cause)
}

func openBecause(err error) error { return fmt.Errorf("%w (the breaker is open)", err) }

// firstProbe is how long after the breaker opened the first probe is sent.
func (b *breaker) firstProbe() time.Duration {
	// openings is 0 if a round trip that was under way has succeeded since.
	again := max(b.openings.Load(), 1) - 1
	return min(50*time.Millisecond<<min(again, 10), 10*time.Second)
}

// jittered is a pause of some 3/4 to 5/4 of d, so that many gateways do not come back to Redis
// at the same moment.
func jittered(d time.Duration) time.Duration { return d - d/4 + rand.N(d/2+1) }

func (b *breaker) close() {
	b.failures.Store(breakerThreshold - 1)
	b.cause.Store(nil)
}
