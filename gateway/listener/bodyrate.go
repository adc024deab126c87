package listener

import "time"

// bodyRate decides when a body comes too slowly. Waiting for the client spends
// a credit of time, at most grace, and each byte that comes buys
// some back. So a body may go on for days at the minimum rate, and stop
// for as long as grace at any time; what the gateway itself takes between two reads is free.
type bodyRate struct {
	min    int // bytes per second; negative: no minimum
	grace  time.Duration
	credit time.Duration
}

func (b *bodyRate) off() bool { return b.min < 0 }

// begin gives a new body its credit.
func (b *bodyRate) begin() { b.credit = b.grace }

// spend accounts for a read that has waited, and got n bytes. The client is
// too slow when no credit is left.
func (b *bodyRate) spend(waited time.Duration, n int) {
	b.credit -= waited
	if b.credit > 0 {
		b.credit = min(b.grace, b.credit+time.Duration(n)*time.Second/time.Duration(b.min))
	}
}
