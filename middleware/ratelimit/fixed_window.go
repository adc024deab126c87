package ratelimit

// FixedWindow counts in one window after another: the cheapest; two windows'
// worth of requests can meet around a boundary.
const FixedWindow Algorithm = "fixed_window"

// fixedWindow counts requests in one window after another.
//
//	admit when used + cost <= limit
//
// A key's window opens with its first request and lasts exactly Window; the
// first request after that opens the next. (Windows aligned to the clock would
// give every client its quota back in the same instant, and a crowd with it.)
//
// Error: never more than limit within one of its windows, but up to
// 2*limit - 1 within some span of that length, half of them just before a
// window ends and half just after.
//
// Memory per key: two integers, at most a window long.
//
// Choose it for quotas that people think of as starting over ("5 attempts,
// then wait a minute"), and where the simplest possible answer to "when may I
// again" is worth more than smoothness. A denied client waits for the window's
// end, whatever it does meanwhile.
type fixedWindow struct {
	start int64 // when the window opened, microseconds
	used  int64
}

func (fixedWindow) decode(s *state, _ int64) fixedWindow {
	return fixedWindow{start: s.words[0], used: s.words[1]}
}

func (s fixedWindow) encode(to *state) int64 {
	to.words = [3]int64{s.start, s.used}
	return s.start
}

func (s fixedWindow) ahead(now int64) int64 { return s.start - now }

func (s fixedWindow) earlier(by int64) fixedWindow {
	s.start -= by
	return s
}

// at returns the state as it stands at now. A clock that was set back finds the
// window just opened: stored time never runs backwards.
func (s fixedWindow) at(q *quota, now int64) fixedWindow {
	now = max(now, s.start)
	if s.used == 0 || now-s.start >= q.window {
		return fixedWindow{start: now}
	}
	return s
}

func (s fixedWindow) fits(q *quota, cost int64) bool { return s.used+cost <= q.requests }

// admit marks the admission by its window.
func (s fixedWindow) admit(cost int64) (fixedWindow, int64) {
	s.used += cost
	return s, s.start
}

// admits returns the first instant at which cost, which does not fit now, will.
func (s fixedWindow) admits(q *quota, _ int64) int64 { return s.start + q.window }

// left returns what remains, and the instant from which all of it does again.
func (s fixedWindow) left(q *quota) (remaining, full int64) {
	if s.used == 0 {
		return q.requests, s.start
	}
	return max(0, q.requests-s.used), s.start + q.window
}

// expires: when the window ends.
func (s fixedWindow) expires(q *quota) int64 {
	_, full := s.left(q)
	return full
}

// giveBack undoes an admission in the window that opened at mark, if it is the
// current one.
func (s fixedWindow) giveBack(_ *quota, mark, cost int64) (fixedWindow, bool) {
	if s.start != mark {
		return s, false
	}
	s.used = max(0, s.used-cost)
	return s, true
}

func (s fixedWindow) charge(_ *quota, mark, cost int64) (fixedWindow, bool) {
	if s.start != mark || s.used == 0 {
		return s, false
	}
	s.used = min(s.used+cost, maxCharged)
	return s, true
}

func (s fixedWindow) agree(q *quota, now int64, say told) (fixedWindow, int64) {
	next := fixedWindow{start: now, used: q.requests - say.remaining}
	if next.used > 0 {
		next.start = say.reset - q.window
	}
	others := next.used - say.cost
	if sameWindow(q, s.start, next.start) {
		others -= s.used
	}
	return next, others
}

// sameWindow reports whether two instants at which a window opened are of the same one: Redis says
// when a window ends on its own clock, and its reply takes a while.
func sameWindow(q *quota, a, b int64) bool { return max(a-b, b-a) < q.window/2 }
