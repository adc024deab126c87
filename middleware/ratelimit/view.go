package ratelimit

// pure is a limit as the decision sees it.
type pure struct {
	algorithm *algorithm
	quota
}

// view is a counter's state at an instant. It is what memory decides by; Redis
// decides by lua/check.lua.
type view struct {
	pure
	state
	now int64 // the caller's clock, microseconds
	at  int64 // the same, or the state's own time where that is later
	// moved says that the stored state lay too far ahead, and is to be stored as it is now.
	moved bool
}

// view brings a state forward to now. It changes nothing that is stored.
func (p pure) view(v *view, s *state, now int64) {
	*v = view{pure: p, state: *s, now: now}
	p.algorithm.look(v)
}

// decision describes the state to a client. Where the request does not fit,
// fits is false and cost is what it asked for.
func (v *view) decision(fits bool, cost int64) Decision {
	remaining, reset := v.algorithm.left(v)
	d := Decision{
		Allowed:   fits,
		Limit:     v.capacity(),
		Remaining: remaining,
		Reset:     micros(max(0, reset-v.now)),
	}
	if !fits {
		d.RetryAfter = micros(v.algorithm.admits(v, cost) - v.now)
	}
	return d
}
