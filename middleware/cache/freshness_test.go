package cache_test

import (
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/cache"
)

func TestARuleSaysHowLongAResponseIsUsed(t *testing.T) {
	t.Parallel()
	const minute = time.Minute
	stale := cache.Rule{TTL: minute, StaleWhileRevalidate: 2 * minute, StaleIfError: 3 * minute, Errors: map[int]time.Duration{404: 5 * time.Second}, MaxBody: 100}
	forced := cache.Rule{TTL: minute, ForceTTL: time.Hour, MaxBody: 100}
	none := cache.Rule{StaleIfError: minute, MaxBody: 100}
	for name, c := range map[string]struct {
		rule   cache.Rule
		status int
		bytes  int64
		want   cache.Freshness
		stored bool
	}{
		"ttl":             {stale, 200, 100, cache.Freshness{Fresh: minute, WhileRevalidate: 2 * minute, IfError: 3 * minute}, true},
		"an error":        {stale, 404, 0, cache.Freshness{Fresh: 5 * time.Second, WhileRevalidate: 2 * minute, IfError: 3 * minute}, true},
		"another error":   {stale, 500, 0, cache.Freshness{}, false},
		"no resource":     {stale, 302, 0, cache.Freshness{}, false},
		"too large":       {stale, 200, 101, cache.Freshness{}, false},
		"force_ttl":       {forced, 200, 0, cache.Freshness{Fresh: time.Hour}, true},
		"nothing is said": {none, 200, 0, cache.Freshness{}, false},
	} {
		if got, stored := c.rule.Freshness(c.status, c.bytes, time.Unix(1e9, 0)); got != c.want || stored != c.stored {
			t.Errorf("%s: got %+v, %v", name, got, stored)
		}
	}
}
