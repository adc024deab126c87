package ratelimit

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

// at returns the state as it stands at now. A clock that was set back finds the
// window just opened: stored time never runs backwards.
func (s fixedWindow) at(q quota, now int64) fixedWindow {
	now = max(now, s.start)
	if s.used == 0 || now-s.start >= q.window {
		return fixedWindow{start: now}
	}
	return s
}

func (s fixedWindow) fits(q quota, cost int64) bool { return s.used+cost <= q.requests }

func (s fixedWindow) admit(cost int64) fixedWindow {
	s.used += cost
	return s
}

// admits returns the first instant at which cost, which does not fit now, will.
func (s fixedWindow) admits(q quota) int64 { return s.start + q.window }

// left returns what remains, and the instant from which all of it does again.
func (s fixedWindow) left(q quota) (remaining, full int64) {
	if s.used == 0 {
		return q.requests, s.start
	}
	return q.requests - s.used, s.start + q.window
}

// giveBack undoes an admission in the window that opened at mark, if that is
// still the one.
func (s fixedWindow) giveBack(mark, cost int64) (fixedWindow, bool) {
	if s.start != mark {
		return s, false
	}
	s.used = max(0, s.used-cost)
	return s, true
}
