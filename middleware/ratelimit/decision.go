package ratelimit

import "time"

// Decision is what one limit says to one request.
type Decision struct {
	// Allowed reports whether this limit lets the request pass.
	Allowed bool
	// Limit is the most that can be consumed at once: Requests (by the client's
	// plan), or the bucket's size.
	Limit int64
	// Remaining is what is left after this request.
	Remaining int64
	// Reset is how long the present count lasts if no further request consumes:
	// until the window ends (fixed_window; sliding_window of more than 32 requests,
	// where it fades from then on), its last admission leaves the window (sliding_log;
	// sliding_window of up to 32), or the bucket is full (token_bucket).
	Reset time.Duration
	// RetryAfter is, for a denial, how long it takes until one request of this
	// cost would be admitted.
	RetryAfter time.Duration
	// Banned reports that the denial is a ban's.
	Banned bool
	// Closed reports that the limit admits no requests at all, at the size that holds for
	// the request: the response is 403.
	Closed bool
	// Unsettled reports that the denial is due to reservations that are not settled yet
	// alone, so that it may end at any moment; RetryAfter is then a second. See [MaxWait].
	Unsettled bool
}

func micros(us int64) time.Duration { return time.Duration(us) * time.Microsecond }
