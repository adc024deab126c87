package ratelimit

// SlidingWindow weighs the window before by how much of it still counts: smooth,
// two numbers per key, slightly approximate. The default.
const SlidingWindow Algorithm = "sliding_window"

// slidingWindow estimates the requests in the window that ends now from two
// fixed ones: the current one in full, and of the previous one the part that
// the sliding window still covers.
//
//	estimate = previous * (window - elapsed) / window + current
//	admit when estimate + cost <= limit
//
// A key's first window opens with its first request; later ones follow on
// without a gap, until nothing that was admitted counts any longer.
//
// Error: the estimate takes the previous window's requests as spread evenly.
// Never more than limit are admitted within one of its own windows, but a span
// of the same length that lies across two of them can see up to 2*limit - 1:
// limit at the very end of one, and limit - 1 by the end of the next, as the
// weight of the former fades. Traffic that does not aim for this sees an error
// of a few percent. Where the bound must be exact, choose sliding_log.
//
// Memory per key: three integers, at most two windows long.
//
// Choose it when in doubt: it costs what a fixed window costs, has no edge for
// a client to burst across, and lets who was denied in again gradually.
//
// The previous window's share is rounded up, so that the comparison above is that
// of the exact fractions: previous*(window-elapsed) <= (limit-current-cost)*window.
type slidingWindow struct {
	start    int64 // when the current window opened, microseconds
	current  int64
	previous int64
	now      int64 // not stored: the instant that at was asked for
}

func (slidingWindow) decode(s *state, at int64) slidingWindow {
	return slidingWindow{start: s.words[0], current: s.words[1], previous: s.words[2], now: at}
}

func (s slidingWindow) encode(to *state) int64 {
	to.words = [3]int64{s.start, s.current, s.previous}
	return s.now
}

// at returns the state as it stands at now, or at the window's start where the
// clock was set back behind it.
func (s slidingWindow) at(q *quota, now int64) slidingWindow {
	now = max(now, s.start)
	switch elapsed := now - s.start; {
	case elapsed >= 2*q.window || s.current+s.previous == 0:
		s = slidingWindow{start: now}
	case elapsed >= q.window:
		s = slidingWindow{start: s.start + q.window, previous: s.current}
	}
	s.now = now
	return s
}

func (s slidingWindow) estimate(q *quota) int64 {
	carried, _ := mulDiv(s.previous, s.start+q.window-s.now, q.window-1, q.window)
	return carried + s.current
}

func (s slidingWindow) fits(q *quota, cost int64) bool { return s.estimate(q)+cost <= q.requests }

// admit marks the admission by its window.
func (s slidingWindow) admit(cost int64) (slidingWindow, int64) {
	s.current += cost
	return s, s.start
}

// admits returns the first instant at which cost, which does not fit now, will:
// later in this window, when enough of the previous one has faded, or in the
// next, when enough of this one has.
func (s slidingWindow) admits(q *quota, cost int64) int64 {
	end := s.start + q.window
	if free := q.requests - s.current - cost; free >= 0 {
		weight, _ := mulDiv(free, q.window, 0, s.previous)
		return end - weight
	}
	if q.requests-cost >= s.current {
		return end
	}
	weight, _ := mulDiv(q.requests-cost, q.window, 0, s.current)
	return end + q.window - weight
}

// left returns what remains, and when the current window ends: what was
// admitted in it fades from then on.
func (s slidingWindow) left(q *quota) (remaining, reset int64) {
	if s.current+s.previous == 0 {
		return q.requests, s.now
	}
	return max(0, q.requests-s.estimate(q)), s.start + q.window
}

// expires: a window after the current one ends, as it counts on as the previous
// one. An unused counter expires as late.
func (s slidingWindow) expires(q *quota) int64 {
	_, reset := s.left(q)
	return reset + q.window
}

// giveBack undoes an admission in the window that opened at mark, be it the
// current one or the previous one by now.
func (s slidingWindow) giveBack(q *quota, mark, cost int64) (slidingWindow, bool) {
	switch mark {
	case s.start:
		s.current = max(0, s.current-cost)
	case s.start - q.window:
		s.previous = max(0, s.previous-cost)
	default:
		return s, false
	}
	return s, true
}
