package ratelimit_test

import (
	"time"

	"github.com/headgate/headgate/middleware/ratelimit"
)

// fixedWindowTextbook: a window opens with the first request after the one before has
// ended, and admits requests.
func fixedWindowTextbook(l ratelimit.Limit) textbook {
	var last time.Time // when the window of the last admission opened
	return func(now time.Time, admitted admissions) bool {
		opened := last
		if now.Sub(opened) >= l.Window {
			opened = now
		}
		if admitted.within(opened.Add(-1), now)+l.Cost > l.Requests {
			return false
		}
		last = opened
		return true
	}
}
