package wire

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
)

// watch notices that a client leaves while its request is being answered. It
// does so by reading on, and only where somebody wants to know: when the request's
// context is asked for its Done channel, and the request has been read to its
// end. An answer that comes at once costs nothing.
//
// A read that is under way when the answer is complete goes on: what it brings is
// the next request's beginning.
type watch struct {
	done     chan struct{} // has one element when the read has ended
	hijacked atomic.Bool   // by the handler; there is no way back

	mu      sync.Mutex
	x       *exchange // that is watched for; nil while no handler runs
	allowed bool      // its body has been read
	wanted  bool
	active  bool // a read is under way, or its outcome has not been taken

	n   int // outcome of the read
	err error
}

// begin is called before the handler, end after it.
func (w *watch) begin(x *exchange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.x, w.allowed, w.wanted = x, x.body == nil, false
}

func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.x = nil
}

// leave ends the context of the request that is being answered: its connection
// has been closed, whether or not that can be watched for.
func (w *watch) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.x != nil {
		w.x.ctx.end()
	}
}

// allow says that the request has been read to its end.
func (w *watch) allow() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.allowed = true
	w.start()
}

// want asks for a request's client to be watched.
func (w *watch) want(x *exchange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.x == x {
		w.wanted = true
		w.start()
	}
}

// start begins to read where everything is as it must be. A client that has
// sent its next request already can't be watched.
func (w *watch) start() {
	if w.x == nil || !w.allowed || !w.wanted || w.active {
		return
	}
	c := w.x.conn
	if c.r < c.w {
		return
	}
	c.makeRoom()
	w.active = true
	go w.read(c, w.x)
}

func (w *watch) read(c *http1Conn, x *exchange) {
	n, err := c.readSome(c.buf[c.w:])
	for n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && w.goesOn(c, x) {
		n, err = c.readSome(c.buf[c.w:])
	}
	w.mu.Lock()
	w.n, w.err = n, err
	w.mu.Unlock()
	if n == 0 && err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		x.ctx.end() // its client is gone; to no effect if it has been answered
	}
	w.done <- struct{}{}
}

// goesOn reports whether to go on when a deadline has passed: it may have been
// for the request's head. To lift it beforehand would cost every request as much, and most are answered
// long before. The lock is held so that it is not the next request's that is forgotten.
func (w *watch) goesOn(c *http1Conn, x *exchange) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.x == x && c.deadline.wasOurs()
}

// await waits for the read that is under way, and returns what it has brought;
// was is false where there is none.
func (w *watch) await() (n int, err error, was bool) {
	w.mu.Lock()
	was = w.active
	w.mu.Unlock()
	if !was {
		return 0, nil, false
	}
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active = false
	return w.n, w.err, true
}

// hijack ends all watching. It reports false where that has happened before.
func (w *watch) hijack() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.x == nil || w.hijacked.Load() {
		return false
	}
	w.x = nil
	w.hijacked.Store(true)
	return true
}
