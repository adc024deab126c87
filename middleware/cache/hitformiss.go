package cache

import (
	"time"

	"github.com/headgate/headgate/internal/boundedmap"
)

// hitForMissTTL is for how long requests for a key go to the origin at once,
// each by itself, after requests had waited there for an answer that could not
// be shared. The first of their answers that can be is stored and ends it: what
// one client provoked, say with a field that the origin refuses, is not for long.
const hitForMissTTL = 5 * time.Second

// fetchWholeTTL is for how long it is remembered that a HEAD, a conditional or
// a range request has already gone to the origin as it was: the next one makes
// the cache fetch the whole response.
const fetchWholeTTL = time.Minute

// fetchesWhole reports whether the next request of the kind has the whole
// fetched, because that has not lately been in vain.
func (c *Cache) fetchesWhole(key flightKey) bool {
	return c.fetchWhole.has(key) && !c.unstorable.has(key)
}

// unreachableTTL is for how long, after the origin could not be reached and
// something stale stood in, the stale is served without asking again: else
// every request would wait for the origin's timeout.
const unreachableTTL = time.Second

// marks are short-lived notes about keys: bounded in memory, gone when there
// are too many. Losing one costs a wait or a fetch.
type marks struct {
	notes *boundedmap.Map[flightKey, struct{}]
	clock func() time.Time
}

const markBytes = 160 // what one note takes

func newMarks(maxBytes int64, clock func() time.Time) *marks {
	return &marks{boundedmap.New[flightKey, struct{}](boundedmap.Options{MaxBytes: maxBytes}), clock}
}

func (m *marks) has(k flightKey) bool {
	_, ok := m.notes.Get(k, m.clock())
	return ok
}

func (m *marks) set(k flightKey, ttl time.Duration) {
	now := m.clock()
	m.notes.Update(k, now, func(struct{}, bool) (struct{}, int, time.Time, bool) {
		return struct{}{}, markBytes, now.Add(ttl), true
	})
}
