package proxy

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// MaxEjection is how long an ejection may become that doubles with every one
// in a row; one whose Ejection.For is longer does not double.
const MaxEjection = 5 * time.Minute

// failureStatus reports whether a response's status counts as a failure of its
// server: 502, 503 or 504, which servers send about others. 500 does not count,
// since a client that has found a way to provoke it could empty the upstream.
func failureStatus(status int) bool {
	switch status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// breaker is one server's circuit breaker; the results of real requests change
// its state. Closed: the server gets requests. Open, until a point in time: it
// gets none. After that it is half-open: it gets one request at a time, as a
// trial. A trial that succeeds closes the breaker, one that fails opens it for
// twice as long.
//
// Times are the upstream's ticks. Every request calls state and success, which
// are a few atomic operations.
type breaker struct {
	until     atomic.Int64 // 0: closed, past: half-open
	trial     atomic.Bool  // a trial is in flight
	streak    atomic.Int64 // failures in a row
	failures  atomic.Int64 // failures, ever
	timeouts  atomic.Int64 // ever; they are no ground for an ejection
	ejections atomic.Int64 // ever

	mu       sync.Mutex
	level    int   // ejections in a row, the exponent of the back-off
	closedAt int64 // when it was last closed
}

type breakerState int

const (
	closed breakerState = iota
	open
	halfOpen
)

func (b *breaker) state(now int64) breakerState {
	switch until := b.until.Load(); {
	case until == 0:
		return closed
	case now < until:
		return open
	default:
		return halfOpen
	}
}

// beginTrial reserves the half-open breaker's one trial.
func (b *breaker) beginTrial() bool { return b.trial.CompareAndSwap(false, true) }

// endTrial allows the next trial, whatever the result of the last one.
func (b *breaker) endTrial() { b.trial.Store(false) }

// success ends a run of failures.
func (b *breaker) success() {
	if b.streak.Load() != 0 {
		b.streak.Store(0)
	}
}

// close closes the breaker after a trial that succeeded, and reports whether
// it was not closed already. The success of a request that was sent before the
// ejection does not close it.
func (b *breaker) close(now int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until.Load() == 0 {
		return false
	}
	b.until.Store(0)
	b.streak.Store(0)
	b.closedAt = now
	return true
}

// failure counts a failure and reports whether the breaker should open. The
// caller decides, since the last server is never ejected.
func (b *breaker) failure(cfg *Ejection, trial bool) bool {
	b.failures.Add(1)
	streak := b.streak.Add(1)
	if cfg.Off {
		return false
	}
	if b.until.Load() != 0 {
		return trial
	}
	return streak >= int64(cfg.Failures)
}

// open ejects the server and returns for how long.
func (b *breaker) open(now int64, cfg *Ejection) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	longest := max(MaxEjection, cfg.For)
	if b.until.Load() == 0 && now-b.closedAt > int64(longest) {
		b.level = 0 // it has not failed for as long as the longest ejection
	}
	d := longest
	if shift := min(b.level, 30); cfg.For <= longest>>shift {
		d = cfg.For << shift
	}
	b.level++
	b.ejections.Add(1)
	b.streak.Store(0)
	b.until.Store(now + int64(d))
	return d
}
