package listener

import (
	"sync"
	"time"
)

// workers are goroutines that serve HTTP/2 streams. They are used again, with stacks that have grown to what handlers
// need: to grow a new one cost a tenth of a request.
type workers struct {
	mu     sync.Mutex
	idle   []*worker // the last one is the next to work
	closed bool
}

// task is what a worker does.
type task interface{ work() }

type worker struct {
	tasks chan task // has room for one
	since time.Time // idle
}

// How many idle workers are kept, and for how long.
const (
	mostIdleWorkers = 256
	idleWorker      = 10 * time.Second
)

// run does the task on a goroutine of its own.
func (p *workers) run(t task) {
	p.mu.Lock()
	if last := len(p.idle) - 1; last >= 0 {
		w := p.idle[last]
		p.idle[last] = nil
		p.idle = p.idle[:last]
		p.mu.Unlock()
		w.tasks <- t
		return
	}
	p.mu.Unlock()
	w := &worker{tasks: make(chan task, 1)}
	w.tasks <- t
	go w.loop(p)
}

func (w *worker) loop(p *workers) {
	for t := range w.tasks {
		t.work()
		if !p.park(w) {
			return
		}
	}
}

// park makes a worker idle, unless there are enough of them. It ends the one that has been idle for too long.
func (p *workers) park(w *worker) bool {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= mostIdleWorkers {
		return false
	}
	if len(p.idle) > 0 && now.Sub(p.idle[0].since) > idleWorker {
		close(p.idle[0].tasks)
		p.idle = append(p.idle[:0], p.idle[1:]...)
	}
	w.since = now
	p.idle = append(p.idle, w)
	return true
}

// close ends the idle workers; the others end with what they do.
func (p *workers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, w := range p.idle {
		close(w.tasks)
	}
	p.idle = nil
}
