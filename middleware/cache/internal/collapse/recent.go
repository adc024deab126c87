package collapse

import (
	"time"

	"github.com/headgate/headgate/internal/boundedmap"
)

// Recent is a set of keys that are in it for a limited time each, bounded in
// memory: when it is full, older keys leave early. It is safe for concurrent use.
type Recent[K comparable] struct {
	keys *boundedmap.Map[K, struct{}]
	now  func() time.Time
}

// keyBytes is what one key takes, near enough.
const keyBytes = 160

// NewRecent makes a set that takes at most maxBytes bytes and goes by the clock now.
func NewRecent[K comparable](maxBytes int64, now func() time.Time) *Recent[K] {
	return &Recent[K]{boundedmap.New[K, struct{}](boundedmap.Options{MaxBytes: maxBytes}), now}
}

// Has reports whether a key is in the set.
func (r *Recent[K]) Has(k K) bool {
	_, ok := r.keys.Get(k, r.now())
	return ok
}

// Add puts a key into the set for ttl from now on.
func (r *Recent[K]) Add(k K, ttl time.Duration) {
	now := r.now()
	r.keys.Update(k, now, func(struct{}, bool) (struct{}, int, time.Time, bool) {
		return struct{}{}, keyBytes, now.Add(ttl), true
	})
}
