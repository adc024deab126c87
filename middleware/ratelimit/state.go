package ratelimit

// state is one counter, of whichever algorithm. The zero state is a counter
// that has never been used.
//
// This file is where an algorithm's name becomes its functions; the Lua
// scripts have a table for it.
type state struct {
	words [3]int64   // of fixedWindow, slidingWindow or tokenBucket
	log   slidingLog // of slidingLog
}

// pure is a limit as the decision sees it.
type pure struct {
	algorithm Algorithm
	quota
}

func (s state) fixed() fixedWindow { return fixedWindow{start: s.words[0], used: s.words[1]} }

func (s state) sliding(now int64) slidingWindow {
	return slidingWindow{start: s.words[0], current: s.words[1], previous: s.words[2], now: now}
}

func (s state) bucket() tokenBucket {
	return tokenBucket{updated: s.words[0], spent: s.words[1], fraction: s.words[2]}
}

func ofFixed(s fixedWindow) state { return state{words: [3]int64{s.start, s.used}} }
func ofSliding(s slidingWindow) state {
	return state{words: [3]int64{s.start, s.current, s.previous}}
}
func ofBucket(s tokenBucket) state { return state{words: [3]int64{s.updated, s.spent, s.fraction}} }

// view is a state at an instant, and what can be asked of it.
type view struct {
	pure
	state
	now int64 // the caller's clock
	at  int64 // the same, or the state's own time where that is later
}

// look brings a state forward to now. It changes nothing that is stored.
func (p pure) look(s state, now int64) view {
	v := view{pure: p, now: now, at: now}
	switch p.algorithm {
	case FixedWindow:
		v.state = ofFixed(s.fixed().at(p.quota, now))
	case TokenBucket:
		b := s.bucket().at(p.quota, now)
		v.state, v.at = ofBucket(b), b.updated
	case SlidingLog:
		v.log = s.log.at(p.quota, now)
		v.at = v.log.now
	default:
		w := s.sliding(0).at(p.quota, now)
		v.state, v.at = ofSliding(w), w.now
	}
	return v
}

// fits reports whether cost may be consumed now.
func (v *view) fits(cost int64) bool {
	switch v.algorithm {
	case FixedWindow:
		return v.fixed().fits(v.quota, cost)
	case TokenBucket:
		return v.bucket().fits(v.quota, cost)
	case SlidingLog:
		return v.log.fits(v.quota, cost)
	default:
		return v.sliding(v.at).fits(v.quota, cost)
	}
}

// admit consumes cost, and returns a mark by which giveBack finds it again.
func (v *view) admit(cost int64) (mark int64) {
	switch v.algorithm {
	case FixedWindow:
		v.state = ofFixed(v.fixed().admit(cost))
		return v.words[0]
	case TokenBucket:
		v.state = ofBucket(v.bucket().admit(cost))
		return v.at
	case SlidingLog:
		v.log = v.log.admit(cost)
		return v.at
	default:
		v.state = ofSliding(v.sliding(v.at).admit(cost))
		return v.words[0]
	}
}

// admits returns the instant at which cost, which does not fit now, will.
func (v *view) admits(cost int64) int64 {
	switch v.algorithm {
	case FixedWindow:
		return v.fixed().admits(v.quota)
	case TokenBucket:
		return v.bucket().admits(v.quota, cost)
	case SlidingLog:
		return v.log.admits(v.quota, cost)
	default:
		return v.sliding(v.at).admits(v.quota, cost)
	}
}

// left returns what remains, and the instant of Decision.Reset.
func (v *view) left() (remaining, reset int64) {
	switch v.algorithm {
	case FixedWindow:
		return v.fixed().left(v.quota)
	case TokenBucket:
		return v.bucket().left(v.quota)
	case SlidingLog:
		return v.log.left(v.quota)
	default:
		return v.sliding(v.at).left(v.quota)
	}
}

// expires returns the instant from which the state need no longer be kept.
func (v *view) expires() int64 {
	_, reset := v.left()
	if v.algorithm == SlidingWindow {
		reset += v.window // as the previous window it counts on
	}
	return reset
}

// giveBack undoes an admission, and reports whether that changed anything:
// what it was admitted to may be over.
func (v *view) giveBack(mark, cost int64) (changed bool) {
	switch v.algorithm {
	case FixedWindow:
		s, changed := v.fixed().giveBack(mark, cost)
		v.state = ofFixed(s)
		return changed
	case TokenBucket:
		s, changed := v.bucket().giveBack(cost)
		v.state = ofBucket(s)
		return changed
	case SlidingLog:
		v.log = v.log.giveBack(mark, cost)
		return true
	default:
		s, changed := v.sliding(v.at).giveBack(v.quota, mark, cost)
		v.state = ofSliding(s)
		return changed
	}
}

// decision describes the state to a client. Where the request does not fit,
// fits is false and cost is what it asked for.
func (v *view) decision(fits bool, cost int64) Decision {
	remaining, reset := v.left()
	d := Decision{
		Allowed:   fits,
		Limit:     v.capacity(),
		Remaining: remaining,
		Reset:     micros(max(0, reset-v.now)),
	}
	if !fits {
		d.RetryAfter = micros(v.admits(cost) - v.now)
	}
	return d
}
