package listener

import (
	"sync"
	"time"
)

// signal wakes the one goroutine that waits for it. The zero value is ready; the mutex that is handed to wait guards it.
type signal struct {
	raised chan struct{} // has room for one
	timer  *time.Timer
}

// raise wakes the goroutine that waits, or else the next one that does.
func (s *signal) raise() {
	select {
	case s.raised <- struct{}{}:
	default: // it is raised already, or has never been waited for
	}
}

// wait releases mu until the signal is raised, or a time has come; zero is none. It may return without either.
func (s *signal) wait(mu *sync.Mutex, by time.Time) {
	if s.raised == nil {
		s.raised = make(chan struct{}, 1)
	}
	if by.IsZero() {
		mu.Unlock()
		<-s.raised
		mu.Lock()
		return
	}
	d := time.Until(by)
	if d <= 0 {
		return
	}
	if s.timer == nil {
		s.timer = time.NewTimer(d)
	} else {
		s.timer.Reset(d)
	}
	mu.Unlock()
	select {
	case <-s.raised:
	case <-s.timer.C:
	}
	mu.Lock()
	s.timer.Stop()
}
