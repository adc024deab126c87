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
// twice as long. What opened it by failed connections is closed by an active
// health check that passes, too.
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
	failing   atomic.Bool  // the server can't be connected to, and can't be ejected either

	mu          sync.Mutex
	level       int   // ejections in a row, the exponent of the back-off
	closedAt    int64 // when it was last closed
	verdicts    int   // how often it was opened or marked as failing, ever
	connections bool  // the last time for failed connections
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
	return b.closeLocked(now)
}

// closeLocked is close for a caller that holds mu.
func (b *breaker) closeLocked(now int64) bool {
	if b.until.Load() == 0 {
		return false
	}
	b.until.Store(0)
	b.streak.Store(0)
	b.closedAt = now
	return true
}

// passed is told that active checks have passed. It ends an ejection for failed
// connections, and the mark of a server that can't be ejected, and reports
// whether there was one. verdicts is from before the checks began: what has
// come since, they say nothing about.
func (b *breaker) passed(now int64, verdicts int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.connections || b.verdicts != verdicts {
		return false
	}
	marked := b.failing.Swap(false)
	if marked {
		b.streak.Store(0)
	}
	return b.closeLocked(now) || marked
}

// verdictCount returns how often the breaker was opened or marked as failing.
func (b *breaker) verdictCount() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.verdicts
}

// failure counts a failure and reports whether the breaker should open. The
// caller decides, since the last server is never ejected.
func (b *breaker) failure(cfg *Ejection, trial bool) bool {
	b.failures.Add(1)
	streak := b.streak.Add(1)
	if b.until.Load() != 0 {
		return trial
	}
	if cfg.Off {
		return streak >= DefaultEjectFailures
	}
	return streak >= int64(cfg.Failures)
}

// markFailing marks a server that can't be connected to, nor be ejected, until
// it answers or passes active checks, and reports whether it was not marked
// already.
func (b *breaker) markFailing() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until.Load() != 0 || b.failing.Swap(true) {
		return false
	}
	b.verdicts++
	b.connections = true
	return true
}

// open ejects the server and returns for how long. connections says that it
// failed by its connections.
func (b *breaker) open(now int64, cfg *Ejection, connections bool) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.verdicts++
	b.connections = connections
	b.failing.Store(false)
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
