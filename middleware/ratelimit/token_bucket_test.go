package ratelimit_test

import (
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/ratelimit"
)

// tokenBucketTextbook: a bucket that is full at first gains requests tokens per window.
func tokenBucketTextbook(l ratelimit.Limit) textbook {
	size := l.Burst
	if size == 0 {
		size = l.Requests
	}
	level, filled := new(big.Rat).SetInt64(size), time.Time{}
	return func(now time.Time, _ admissions) bool {
		if !filled.IsZero() {
			in := big.NewRat(int64(now.Sub(filled)), int64(l.Window))
			level.Add(level, in.Mul(in, new(big.Rat).SetInt64(l.Requests)))
		}
		if full := new(big.Rat).SetInt64(size); level.Cmp(full) > 0 {
			level = full
		}
		filled = now
		if level.Cmp(new(big.Rat).SetInt64(l.Cost)) < 0 {
			return false
		}
		level.Sub(level, new(big.Rat).SetInt64(l.Cost))
		return true
	}
}

// TestAPlanScalesTheBucket: a bucket keeps its proportion to the requests.
func TestAPlanScalesTheBucket(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, c *ratelimit.Counters) {
		for name, tt := range map[string]struct {
			burst, cost int64
			plan        int64
			capacity    int64
		}{
			"burst unset":                      {0, 1, 1000, 1000},
			"burst as many as requests":        {100, 1, 1000, 1000},
			"burst a tenth of requests":        {10, 1, 1000, 100},
			"a smaller plan":                   {10, 1, 50, 5},
			"never less than one":              {10, 1, 1, 1},
			"never less than one request cost": {10, 4, 20, 4},
		} {
			l := limit(strings.ReplaceAll(name, " ", "-"), ratelimit.TokenBucket, 100, 24*time.Hour)
			l.Burst, l.Cost = tt.burst, tt.cost
			l.Plans = map[string]int64{"gold": tt.plan}
			r := from("192.0.2.1")
			r.Plan = "gold"
			limiter := newLimiter(t, c, l)
			admitted := int64(0)
			for range tt.capacity + 1 {
				res := check(limiter, r)
				if !res.Allowed() {
					break
				}
				admitted++
				if got := res.Decisions()[0].Limit; got != tt.capacity {
					t.Fatalf("%s: the bucket holds %d, want %d", name, got, tt.capacity)
				}
			}
			if want := tt.capacity / tt.cost; admitted != want {
				t.Errorf("%s: admitted %d at once, want %d", name, admitted, want)
			}
		}
	})
}
