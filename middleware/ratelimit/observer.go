package ratelimit

import "time"

// Event is what became of a request under one limit.
type Event string

const (
	Admitted     Event = "admitted"
	Denied       Event = "denied"
	DryRunDenied Event = "dry_run_denied"
	// Failed: Redis did not answer, and the limit is Open or Closed.
	Failed Event = "error"
)

// Source says who decided.
type Source string

const (
	FromRedis     Source = "redis"
	FromMemory    Source = "memory"     // there is no Redis
	FromLocal     Source = "local"      // Redis is away: this instance's own counters
	FromDenyCache Source = "deny_cache" // a denial that was remembered
)

// Observer is told what the limiter does, for metrics. It is called on the
// request's path, concurrently, and must not block.
type Observer interface {
	// Decided is called once for each limit that decided about a request.
	Decided(limit string, event Event, source Source)
	// RoundTrip is called with the time that a check in Redis took, and its error.
	RoundTrip(took time.Duration, err error)
}

type nobody struct{}

func (nobody) Decided(string, Event, Source)  {}
func (nobody) RoundTrip(time.Duration, error) {}
