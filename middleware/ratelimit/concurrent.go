package ratelimit

import "time"

// concurrent is how limits with [Limit.Concurrent] count: not requests in a window, but
// requests in flight.
const concurrent Algorithm = "concurrent"

// inFlight counts the requests that have begun and whose response is not complete.
//
//	admit when n + 1 <= limit
//
// Each holds a lease from its admission to the end of its response; see leases.go. In
// Redis the leases of a key are a sorted set, by when they end: n is how many have not
// ended, so that those of an instance that has crashed are free when they end. In this
// process n is what the process itself holds.
//
// Memory per key: in Redis about 100 bytes for each lease, for as long as it lasts.
type inFlight struct {
	n   int64
	now int64 // microseconds
}

// Requests in flight end at any moment: a client that is denied may ask again in a second.
const retryInFlight = time.Second

func (inFlight) decode(s *state, _ int64) inFlight { return inFlight{n: s.words[0], now: s.words[1]} }

func (s inFlight) encode(to *state) int64 {
	to.words = [3]int64{s.n, s.now}
	return s.now
}

// ahead is 0: this process' own clock is not set back. Redis' leases: lua/concurrent.lua.
func (inFlight) ahead(int64) int64 { return 0 }

func (s inFlight) earlier(int64) inFlight { return s }

func (s inFlight) at(_ *quota, now int64) inFlight { return inFlight{s.n, now} }

func (s inFlight) fits(q *quota, cost int64) bool { return s.n+cost <= q.requests }

// admit has no mark: giveBack finds the lease by its ID.
func (s inFlight) admit(cost int64) (inFlight, int64) { return inFlight{s.n + cost, s.now}, 0 }

func (s inFlight) admits(*quota, int64) int64 { return s.now + retryInFlight.Microseconds() }

func (s inFlight) left(q *quota) (remaining, full int64) { return max(0, q.requests-s.n), s.now }

func (s inFlight) expires(*quota) int64 { return s.now }

func (s inFlight) giveBack(_ *quota, _, cost int64) (inFlight, bool) {
	return inFlight{max(0, s.n-cost), s.now}, true
}

// charge does nothing: a request in flight is one, whatever it costs.
func (s inFlight) charge(*quota, int64, int64) (inFlight, bool) { return s, false }

// agree is never asked: the leases of this process are what it goes on from.
func (s inFlight) agree(*quota, int64, told) (inFlight, int64) { return s, 0 }
