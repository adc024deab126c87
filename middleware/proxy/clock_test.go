package proxy

import (
	"testing"
	"time"
)

// A try's time begins with the try, and again with each piece of the request's body; it never goes beyond the deadline of all tries.
func TestClockOfATry(t *testing.T) {
	t.Parallel()
	var c clock
	c.start(time.Hour, time.Minute)
	c.began = c.began.Add(-30 * time.Minute) // as if so much time had passed
	second := c.startTry()
	if got := c.tryDeadline(0).Sub(c.began); got != time.Minute {
		t.Errorf("the first try has %v", got)
	}
	if got := time.Until(c.tryDeadline(second)); got <= 0 || got > time.Minute {
		t.Errorf("a later try has %v", got)
	}
	c.restart()
	if got := c.tryDeadline(0).Sub(c.began); got < 31*time.Minute {
		t.Errorf("after a piece of the body, the try ends after %v", got)
	}
	c.turn.Store(0)
	if got := c.tryDeadline(int64(59*time.Minute + 30*time.Second)).Sub(c.began); got != time.Hour {
		t.Errorf("the last try ends after %v", got)
	}
	var none clock
	if none.start(0, 0); !none.tryDeadline(none.startTry()).IsZero() {
		t.Error("there is a deadline")
	}
}
