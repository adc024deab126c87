package listener

import "time"

// budget bounds what a client may make the gateway do for nothing. Frames of little use spend it (resets, SETTINGS,
// PING, PRIORITY, empty frames, window updates); time and answers that the client takes fill it up. A client
// that works with what it asks for never notices; one that has spent all is closed with ENHANCE_YOUR_CALM.
type budget struct {
	left   int
	filled time.Time // when time has last filled it up
}

const (
	budgetMost   = 1000
	budgetPerSec = 100

	costFrame  = 1   // of a frame that asks for an acknowledgement, or for nothing at all
	costReset  = 4   // of a stream that is reset, by either side, or refused: the work for it is lost
	costStall  = 100 // of an answer that was not taken in time: it has held an app's connection
	gainAnswer = 2   // by an answer that was sent to its end
	gainKiB    = 1   // by each KiB of an answer, and 1 by each frame of dataWorth bytes
	dataWorth  = 256
)

// spend takes n out of the budget, and reports whether it was there.
func (b *budget) spend(n int, now time.Time) bool {
	if b.filled.IsZero() {
		b.left, b.filled = budgetMost, now
	}
	if gained := int(now.Sub(b.filled) * budgetPerSec / time.Second); gained > 0 {
		b.left = min(budgetMost, b.left+min(gained, budgetMost))
		b.filled = now
	}
	b.left -= n
	return b.left >= 0
}

// gain gives back n.
func (b *budget) gain(n int) { b.left = min(budgetMost, b.left+n) }
