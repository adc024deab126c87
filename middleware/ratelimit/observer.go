package ratelimit

import "time"

// Event is what one limit decided about a request.
type Event string

const (
	Admitted     Event = "admitted"
	Denied       Event = "denied"
	DryRunDenied Event = "dry_run_denied"
	// Failed: Redis did not reply, and the limit is Open or Closed.
	Failed Event = "error"
)

// Source says where a decision was made.
type Source string

const (
	FromRedis     Source = "redis"
	FromMemory    Source = "memory"     // there is no Redis
	FromLocal     Source = "local"      // Redis is away: this instance's own counters
	FromDenyCache Source = "deny_cache" // an earlier denial
	FromPolicy    Source = "policy"     // the limit is closed
	FromWait      Source = "wait"       // that others wait already
)

// Observer is told what the limiter does, for metrics. It is called on the
// request's path, concurrently, and must not block.
type Observer interface {
	// Decided is called once for each limit that decided about a request.
	Decided(limit string, event Event, source Source)
	// Dropped is called for each counter or ban of a limit that this process drops for want
	// of memory while it still counts: its client starts afresh.
	Dropped(limit string)
	// RoundTrip is called with the time that a check in Redis took, and its error.
	RoundTrip(took time.Duration, err error)
}

// noObserver ignores what it is told.
type noObserver struct{}

func (noObserver) Decided(string, Event, Source)  {}
func (noObserver) Dropped(string)                 {}
func (noObserver) RoundTrip(time.Duration, error) {}
