package listener

import "time"

// bodyRate decides when a body comes too slowly. Waiting for the client spends
// a credit of time, at most grace, and each byte that comes buys
// some back. So a body may go on for days at the minimum rate, and stop
// for as long as grace at any time; what the gateway itself takes between two reads is free.
// The waiting for a whole body may have a bound too.
type bodyRate struct {
	min    int // bytes per second; negative: no minimum
	grace  time.Duration
	credit time.Duration

	whole time.Duration // for all of the body; not positive: no bound
	left  time.Duration // of whole
}

func newBodyRate(o *Options) bodyRate {
	b := bodyRate{min: o.MinBodyRate, grace: o.BodyGrace, whole: o.BodyTimeout}
	b.begin()
	return b
}

func (b *bodyRate) off() bool { return b.min < 0 && b.whole <= 0 }

// begin gives a new body its credit.
func (b *bodyRate) begin() { b.credit, b.left = b.grace, b.whole }

// patience is how long the next read may wait. The client is too slow when none is left.
func (b *bodyRate) patience() time.Duration {
	switch {
	case b.min < 0:
		return b.left
	case b.whole <= 0:
		return b.credit
	}
	return min(b.credit, b.left)
}

// slack is how exact the deadline of a read must be.
func (b *bodyRate) slack() time.Duration {
	switch {
	case b.min < 0:
		return b.whole / 8
	case b.whole <= 0:
		return b.grace / 8
	}
	return min(b.grace, b.whole) / 8
}

// spend accounts for a read that has waited, and got n bytes.
func (b *bodyRate) spend(waited time.Duration, n int) {
	b.left -= waited
	if b.min < 0 {
		return
	}
	b.credit -= waited
	if b.credit > 0 {
		b.credit = min(b.grace, b.credit+time.Duration(n)*time.Second/time.Duration(b.min))
	}
}
