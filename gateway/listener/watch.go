package listener

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
)

// watch notices that a client leaves while its request is being answered. It
// does so by reading on, and only where the handler needs it: when the request's
// context is asked for its Done channel, and the request has been read to its
// end or lies in the buffer with its body. An answer that comes at once costs nothing.
//
// A read that is under way when the answer is complete goes on: what it brings is
// the next request's beginning.
type watch struct {
	done     chan struct{} // has one element when the read has ended
	hijacked atomic.Bool   // by the handler; there is no way back

	mu      sync.Mutex
	x       *servedRequest // that is watched for; nil while no handler runs
	allowed bool           // its body has been read, or has arrived
	arrived bool           // its body has, and lies in the buffer, which must stay where it is
	wanted  bool
	active  bool // a read is under way, or its outcome has not been taken

	n   int // outcome of the read
	err error
}

// begin is called before the handler, end after it.
func (w *watch) begin(x *servedRequest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.arrived = x.body != nil && x.body.arrived()
	w.x, w.allowed, w.wanted = x, x.body == nil || w.arrived, false
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
	w.allowed, w.arrived = true, false
	w.start()
}

// want asks for a request's client to be watched.
func (w *watch) want(x *servedRequest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.x == x {
		w.wanted = true
		w.start()
	}
}

// start begins to read where everything is as it must be. A client that has
// filled the buffer with what it sends ahead can't be watched.
func (w *watch) start() {
	if w.x == nil || !w.allowed || !w.wanted || w.active {
		return
	}
	c := w.x.conn
	if w.arrived { // the handler may be reading it
		if c.w == len(c.buf) {
			return
		}
	} else {
		if c.r == 0 && c.w == len(c.buf) {
			return
		}
		c.makeRoom()
	}
	w.active, w.n = true, 0
	go w.read(c, w.x)
}

// read reads until the client has left, the handler has returned, or there is
// no room for more of what is sent ahead.
func (w *watch) read(c *http1Conn, x *servedRequest) {
	for n := 0; ; {
		m, err := c.readSome(c.buf[c.w+n:])
		n += m
		if !w.keepReading(c, x, n, err) {
			break
		}
	}
	w.done <- struct{}{}
}

// keepReading notes what a read has brought, and reports whether to go on.
//
// A deadline that has passed may have been for the request's head: to lift it
// beforehand would cost every request as much, and most are answered long before.
func (w *watch) keepReading(c *http1Conn, x *servedRequest, n int, err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n, w.err = n, err
	switch {
	case err == nil:
		return w.x == x && c.w+n < len(c.buf)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return w.x == x && c.deadline.wasOurs()
	}
	x.ctx.end() // its client is gone; to no effect if it has been answered
	return false
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

// inTheWay reports whether a read is under way although the next request has
// begun, with what was sent ahead or what the read itself has brought.
func (w *watch) inTheWay(sentAhead bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.active && (sentAhead || w.n > 0)
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
