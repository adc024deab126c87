package ratelimit

// SlidingWindow is exact up to 32 requests. Above, it weighs the window before by how
// much of it still counts: smooth, two numbers per key, slightly approximate. The
// default.
const SlidingWindow Algorithm = "sliding_window"

// exactUpTo is the largest number of requests that a sliding_window counts in a log, as
// sliding_log does: there an estimate is off by a large part of the limit, and a log is
// small.
const exactUpTo = 32

// slidingWindow counts limits of more than exactUpTo requests. It estimates the
// requests in the window that ends now from two fixed ones: the current one in full,
// and of the previous one the part that the sliding window still covers.
//
//	estimate = previous * (window - elapsed) / window + current
//	admit when estimate + cost - 1 < limit
//
// Less a fraction of one request the estimate may reach the limit: were it rounded up,
// constant demand would get one request less than limit in each window.
//
// A key's first window opens with its first request; later ones follow on
// without a gap, until nothing that was admitted counts any longer.
//
// Error: the estimate takes the previous window's requests as spread evenly.
// Never more than limit are admitted within one of its own windows, but a span
// of the same length that lies across two of them can see up to 2*limit: limit at the
// very end of one, and limit by the end of the next, as the weight of the former fades.
// Constant demand above the rate gets the limit to within one percent. A client that
// keeps exactly to the rate is denied at most once a window. Where the bound must be exact, choose
// sliding_log.
//
// Memory per key: three integers, at most two windows long; up to exactUpTo requests
// what sliding_log takes.
//
// Choose it when in doubt: it costs what a fixed window costs, has no edge for
// a client to burst across, and lets a client that was denied in again gradually.
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

func (s slidingWindow) ahead(now int64) int64 { return s.start - now }

func (s slidingWindow) earlier(by int64) slidingWindow {
	s.start -= by
	return s
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
	carried, _ := mulDiv(s.previous, s.start+q.window-s.now, 0, q.window)
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
		return end - fadesTo(q, s.previous, free)
	}
	if free := q.requests - cost; free < s.current {
		return end + q.window - fadesTo(q, s.current, free)
	}
	return end
}

// fadesTo returns the longest rest of the window, in microseconds, at which not more
// than free of previous requests count. free is less than previous.
func fadesTo(q *quota, previous, free int64) int64 {
	rest, _ := mulDiv(free+1, q.window, -1, previous)
	return rest
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

func (s slidingWindow) charge(q *quota, mark, cost int64) (slidingWindow, bool) {
	switch {
	case mark == s.start && s.current > 0:
		s.current = min(s.current+cost, maxCharged)
	case mark == s.start-q.window && s.previous > 0:
		s.previous = min(s.previous+cost, maxCharged)
	default:
		return s, false
	}
	return s, true
}

// agree takes what Redis counts beyond what s does as admitted in the current window: its reply
// has the estimate alone.
func (s slidingWindow) agree(q *quota, now int64, say told) (slidingWindow, int64) {
	used := q.requests - say.remaining
	if used == 0 {
		return slidingWindow{start: now, now: now}, 0
	}
	next := slidingWindow{start: say.reset - q.window}
	switch {
	case sameWindow(q, s.start, next.start):
		next.current, next.previous = s.current, s.previous
	case sameWindow(q, s.start+q.window, next.start):
		next.previous = s.current
	}
	next.now = max(now, next.start)
	more := used - next.estimate(q)
	next.current = max(0, next.current+more)
	return next, more - say.cost
}
