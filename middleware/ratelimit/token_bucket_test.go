package ratelimit_test

import (
	"math/big"
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
