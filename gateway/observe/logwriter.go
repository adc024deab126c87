package observe

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"
)

const (
	logFlushEvery = 100 * time.Millisecond
	logFlushAt    = 32 << 10 // bytes; flushed before the tick
	logMaxPending = 8 << 20  // bytes; lines beyond them are lost
	logTellEvery  = time.Second
)

// errLogBehind is why lines are lost that come while logMaxPending is reached.
var errLogBehind = errors.New("lines come faster than they can be written")

// LogWriter gathers lines and writes them from a goroutine of its own, so that
// a slow disk or a stuck pipe holds up no request. Lines that can't be written, or for
// which there is no room because the other end does not keep up, are lost and counted
// rather than kept without bound.
type LogWriter struct {
	out  io.Writer // of run's goroutine
	lost func(lines int)
	tell func(lines int, why error)

	half []byte // what is still to be written of a line whose beginning is written; of run's goroutine

	mu      sync.Mutex
	pending []byte
	turns   []turn
	untold  int   // lost lines that tell has not been told of
	why     error // the last of them were lost
	told    time.Time

	wake chan struct{}
	quit chan struct{}
	done chan struct{}
}

// NewLogWriter returns a LogWriter on out and starts its goroutine, which Close ends.
// lost is called at once with the number of lines that are lost; tell, once a second at
// most, with the number since its last call and the reason.
func NewLogWriter(out io.Writer, lost func(lines int), tell func(lines int, why error)) *LogWriter {
	w := &LogWriter{
		out: out, lost: lost, tell: tell,
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
		w.lose(1, errLogBehind)
		w.report(false)
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

// turn is a change of where lines go.
type turn struct {
	at   int // lines from this byte of pending on go there
	out  io.Writer
	left func() // called when what was before it is written to no more; may be nil
}

// Use sends the lines that come from now on elsewhere. left is called when those before are written; it may be nil.
func (w *LogWriter) Use(out io.Writer, left func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turns = append(w.turns, turn{len(w.pending), out, left})
}

// writeAll writes a batch, each part of it where it goes. The rest of a line that was cut off is lost with a turn: its beginning
// stands elsewhere.
func (w *LogWriter) writeAll(batch []byte, turns []turn) error {
	begin := 0
	for _, next := range turns {
		if err := w.write(batch[begin:next.at]); len(w.half) > 0 {
			w.half = nil
			w.lose(1, err)
		}
		begin, w.out = next.at, next.out
		if next.left != nil {
			next.left()
		}
	}
	return w.write(batch[begin:])
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
		turns := w.turns
		w.turns = nil
		w.mu.Unlock()
		err := w.writeAll(batch, turns)
		if spare = batch; cap(spare) > 1<<20 {
			spare = nil // after a burst
		}
		if last && len(w.half) > 0 {
			w.lose(1, err)
		}
		w.report(last)
		if last {
			return
		}
	}
}

// write writes the rest of a line that was cut off, and then the lines of batch. A line
// that is cut off now is completed by a later write, before any other: a disk that has
// room again must not have half a line in front of a whole one.
func (w *LogWriter) write(batch []byte) (err error) {
	if w.half, err = w.put(w.half); err != nil {
		w.lose(bytes.Count(batch, newline), err)
		return err
	}
	rest, err := w.put(batch)
	if err == nil {
		return nil
	}
	if begun := len(rest) < len(batch) && batch[len(batch)-len(rest)-1] != '\n'; begun {
		end := bytes.IndexByte(rest, '\n') + 1
		w.half, rest = bytes.Clone(rest[:end]), rest[end:]
	}
	w.lose(bytes.Count(rest, newline), err)
	return err
}

var newline = []byte{'\n'}

// put writes as much of b as out takes, and returns what it does not take and why.
func (w *LogWriter) put(b []byte) (rest []byte, err error) {
	for len(b) > 0 {
		n, err := w.out.Write(b)
		if b = b[n:]; n > 0 {
			continue // whatever the error is: the next write meets it, if it lasts
		}
		if err == nil {
			err = io.ErrShortWrite
		}
		return b, err
	}
	return nil, nil
}

// lose counts lost lines.
func (w *LogWriter) lose(lines int, why error) {
	if lines == 0 {
		return
	}
	w.lost(lines)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.untold += lines
	w.why = why
}

// report tells of lost lines, where there are any and that was not done in the last
// second; at the end in any case.
func (w *LogWriter) report(atEnd bool) {
	w.mu.Lock()
	lines, why := w.untold, w.why
	if lines == 0 || !atEnd && time.Since(w.told) < logTellEvery {
		w.mu.Unlock()
		return
	}
	w.untold, w.told = 0, time.Now()
	w.mu.Unlock()
	w.tell(lines, why)
}

// Close writes what is pending, and waits for that for a second at most.
func (w *LogWriter) Close() {
	close(w.quit)
	select {
	case <-w.done:
	case <-time.After(time.Second):
	}
}
