package ratelimit_test

import (
	"time"

	"github.com/headgate/headgate/middleware/ratelimit"
)

// slidingLogTextbook: no window that ends now has more than requests.
func slidingLogTextbook(l ratelimit.Limit) textbook {
	return func(now time.Time, admitted admissions) bool {
		return admitted.within(now.Add(-l.Window), now)+l.Cost <= l.Requests
	}
}
