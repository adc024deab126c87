package ratelimit_test

import (
	"math/big"
	"time"

	"github.com/headgate/headgate/middleware/ratelimit"
)

// slidingWindowTextbook: the window before counts by the fraction of it that a window
// which ends now covers.
func slidingWindowTextbook(l ratelimit.Limit) textbook {
	var last time.Time // when the window of the last admission opened
	return func(now time.Time, admitted admissions) bool {
		opened := last
		previous := admitted.within(opened.Add(-l.Window-1), opened.Add(-1))
		current := admitted.within(opened.Add(-1), now)
		switch elapsed := now.Sub(opened); {
		case elapsed >= 2*l.Window || current+previous == 0:
			opened, previous, current = now, 0, 0
		case elapsed >= l.Window:
			opened = opened.Add(l.Window)
			previous, current = current, 0
		}
		estimate := big.NewRat(int64(l.Window-now.Sub(opened)), int64(l.Window))
		estimate.Mul(estimate, new(big.Rat).SetInt64(previous))
		estimate.Add(estimate, new(big.Rat).SetInt64(current+l.Cost))
		if estimate.Cmp(new(big.Rat).SetInt64(l.Requests)) > 0 {
			return false
		}
		last = opened
		return true
	}
}
