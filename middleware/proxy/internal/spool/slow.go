package spool

import "time"

// watch begins to read ahead as soon as the reader is slow.
func (b *Body) watch() {
	switch {
	case b.ahead || b.over != nil:
	case b.credit <= 0:
		b.ahead = true
		go b.goAhead()
	case b.timer == nil:
		b.timer = time.AfterFunc(b.credit, b.expired)
	default:
		b.timer.Reset(b.credit)
	}
}

// account takes the time since the last Read from the reader's credit, and adds
// what it has earned by the bytes that it took.
func (b *Body) account() {
	if b.timer != nil {
		b.timer.Stop()
	}
	if b.returned.IsZero() {
		return
	}
	b.credit -= time.Since(b.returned)
	b.credit += time.Duration(b.took) * time.Second / fastRate
	b.credit = max(min(b.credit, b.patience), -b.patience)
	b.returned = time.Time{}
}

// expired runs on the timer's goroutine when the reader has spent its credit.
func (b *Body) expired() {
	b.mu.Lock()
	if b.reading || b.ahead || b.over != nil || b.err != nil {
		b.mu.Unlock()
		return
	}
	b.ahead = true
	b.mu.Unlock()
	b.goAhead()
}

func (b *Body) goAhead() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.readAhead()
}
