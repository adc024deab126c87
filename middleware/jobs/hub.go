package jobs

import "sync"

// hub tells the goroutines of this process what happens to jobs. What it tells may be lost where it comes from another
// instance, so that those who listen look again by themselves as well.
type hub struct {
	mu      sync.Mutex
	work    chan struct{} // closed and replaced when a job may run
	waiters map[string][]chan struct{}
}

func newHub() *hub {
	return &hub{work: make(chan struct{}), waiters: make(map[string][]chan struct{})}
}

// wake is called when some queue may have a job that can run.
func (h *hub) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.work)
	h.work = make(chan struct{})
}

// woken returns a channel that is closed at the next wake.
func (h *hub) woken() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.work
}

// over is called when a job is over.
func (h *hub) over(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.waiters[id] {
		close(w)
	}
	delete(h.waiters, id)
}

// watch returns a channel that is closed when a job is over. done must be called.
func (h *hub) watch(id string) (ended <-chan struct{}, done func()) {
	w := make(chan struct{})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiters[id] = append(h.waiters[id], w)
	return w, func() { h.unwatch(id, w) }
}

func (h *hub) unwatch(id string, w chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	left := h.waiters[id][:0]
	for _, other := range h.waiters[id] {
		if other != w {
			left = append(left, other)
		}
	}
	if len(left) == 0 {
		delete(h.waiters, id)
	} else {
		h.waiters[id] = left
	}
}
