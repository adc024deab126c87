package observe

import (
	"io"
	"sync"
	"time"
)

const (
	logFlushEvery = 100 * time.Millisecond
	logFlushAt    = 32 << 10 // bytes; flushed before the tick
	logMaxPending = 8 << 20  // bytes; lines beyond them are dropped
)

// LogWriter gathers lines and writes them from a goroutine of its own, so that
// a slow disk or a stuck pipe holds up no request. Where the other end does
// not keep up at all, lines are dropped and counted rather than kept without bound.
type LogWriter struct {
	out     io.Writer
	dropped func() // called for each dropped line
	failed  func(error)

	mu      sync.Mutex
	pending []byte

	wake chan struct{}
	quit chan struct{}
	done chan struct{}
}

// NewLogWriter returns a LogWriter on out and starts its goroutine, which Close ends.
// dropped is called for each line that is dropped, failed with each error of a write.
func NewLogWriter(out io.Writer, dropped func(), failed func(error)) *LogWriter {
	w := &LogWriter{
		out: out, dropped: dropped, failed: failed,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	go w.run()
	return w
}

// Line appends one line, which fill appends to the buffer that it is given. It does not block.
func (w *LogWriter) Line(fill func([]byte) []byte) {
	w.mu.Lock()
	if len(w.pending) > logMaxPending {
		w.mu.Unlock()
		w.dropped()
		return
	}
	w.pending = fill(w.pending)
	full := len(w.pending) >= logFlushAt
	w.mu.Unlock()
	if full {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

func (w *LogWriter) run() {
	defer close(w.done)
	tick := time.NewTicker(logFlushEvery)
	defer tick.Stop()
	var spare []byte
	for {
		last := false
		select {
		case <-tick.C:
		case <-w.wake:
		case <-w.quit:
			last = true
		}
		w.mu.Lock()
		batch := w.pending
		w.pending = spare[:0]
		w.mu.Unlock()
		if len(batch) > 0 {
			if _, err := w.out.Write(batch); err != nil {
				w.failed(err)
			}
		}
		if spare = batch; cap(spare) > 1<<20 {
			spare = nil // after a burst
		}
		if last {
			return
		}
	}
}

// Close writes what is pending, and waits for that for a second at most.
func (w *LogWriter) Close() {
	close(w.quit)
	select {
	case <-w.done:
	case <-time.After(time.Second):
	}
}
