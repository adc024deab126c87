package cache

import (
	"sync"
	"time"

	"github.com/headgate/headgate/middleware/cache/internal/fleet"
)

// While a stale response may be served in the place of an error, the response that is to
// replace it is held until its body has come, or enough of it: an origin that breaks off
// within the first bytes has failed, and clients get the stale response instead of a part.
const (
	// holdBytes is how much of a body is waited for. It must fit into what is kept.
	holdBytes = 64 << 10
	// holdTime bounds how long clients wait for a body that is slow.
	holdTime = time.Second
)

// held is an outcome that clients do not have yet. It is safe for concurrent use: the timer
// may let go of it at any moment.
type held struct {
	mu      sync.Mutex
	outcome *outcome
	timer   *time.Timer
}

// hold keeps back a response that may be stored, where something may stand in for it.
func (t *fetch) hold(o outcome) {
	t.held.mu.Lock()
	defer t.held.mu.Unlock()
	t.held.outcome = &o
	t.held.timer = time.AfterFunc(holdTime, t.letGo)
}

// letGo gives the clients what is held, if anything is.
func (t *fetch) letGo() {
	if o := t.held.take(); o != nil {
		t.resolve(*o)
	}
}

// cutShort serves the stale response in the place of what is held, if anything is: the origin
// has broken off its body.
func (t *fetch) cutShort() {
	switch o := t.held.take(); {
	case o == nil:
	case t.c.validity(t.base) == fleet.Void:
		t.resolve(*o)
	default:
		t.resolve(outcome{kind: staleOnError, entry: t.base, status: outcomeStatus{fwd: fwdStale, detail: "cut-short"}})
	}
}

func (h *held) take() *outcome {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.outcome
	if h.outcome = nil; o != nil {
		h.timer.Stop()
	}
	return o
}
