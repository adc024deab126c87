package listener

import (
	"errors"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// frameReader is the buffer from which the connection's goroutine reads frames. Before it waits for the client, all
// requests that have arrived are begun.
type frameReader struct {
	conn *http2Conn
	buf  []byte
	r, w int // what has arrived is buf[r:w]

	small []byte  // buf, while little arrives at a time
	large *[]byte // buf, while much does; nil otherwise

	prefaced atomic.Bool // the client has said that it speaks HTTP/2
	within   bool        // a frame or a header section has begun, and must come in time
	by       time.Time   // when that must be there; zero: it has not been waited for
	patience time.Duration
	armed    time.Time // the deadline that the socket has been told
	pinged   bool      // the client has been silent since it was sent a PING
}

func (f *frameReader) init(c *http2Conn, rest []byte) {
	f.conn = c
	f.small = make([]byte, max(readBuffer, len(rest)))
	f.buf = f.small
	f.w = copy(f.buf, rest)
}

// resize takes a large buffer where the small one was filled, and gives it back where it was not.
func (f *frameReader) resize() {
	switch last := f.w; {
	case f.large == nil && last == len(f.small):
		f.large = largeBuffers.Get().(*[]byte)
		f.buf = (*f.large)[:cap(*f.large)]
	case f.large != nil && last < len(f.small):
		putOut(f.large)
		f.large, f.buf = nil, f.small
	}
}

// release gives up the buffer.
func (f *frameReader) release() {
	if f.large != nil {
		putOut(f.large)
	}
	f.small, f.large, f.buf, f.r, f.w = nil, nil, nil, 0, 0
}

// expect begins something that must be there as a whole so long after the client is first waited for.
func (f *frameReader) expect(d time.Duration) { f.within, f.by, f.patience = true, time.Time{}, d }

// expectMore goes on with what has begun.
func (f *frameReader) expectMore() { f.within = true }

// between says that nothing has begun.
func (f *frameReader) between() { f.within, f.by = false, time.Time{} }

// Read implements io.Reader.
func (f *frameReader) Read(p []byte) (int, error) {
	if f.r == f.w {
		if err := f.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.buf[f.r:f.w])
	f.r += n
	if !f.within {
		f.expect(f.conn.server.options.ReadHeaderTimeout)
	}
	return n, nil
}

// next returns at most n bytes, and at least one. They are valid until the next read.
func (f *frameReader) next(n int) ([]byte, error) {
	if f.r == f.w {
		if err := f.fill(); err != nil {
			return nil, err
		}
	}
	p := f.buf[f.r:min(f.w, f.r+n)]
	f.r += len(p)
	return p, nil
}

// fill reads what comes next into the empty buffer.
func (f *frameReader) fill() error {
	c := f.conn
	c.begin()
	f.resize()
	f.r, f.w = 0, 0
	for {
		f.arm()
		n, err := c.Conn.Read(f.buf)
		if n > 0 {
			f.w, f.pinged = n, false
			return nil
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if err := f.overdue(); err != nil {
			return err
		}
	}
}

// arm sets the deadline of a read. One that was set before, and leaves three quarters of the time, is as good.
func (f *frameReader) arm() {
	now := time.Now()
	by, slack := f.by, time.Duration(0)
	if f.within {
		if by.IsZero() {
			by = now.Add(f.patience)
			f.by = by
		}
	} else {
		wait := min(pingAfter, f.conn.server.options.IdleTimeout)
		if f.pinged {
			wait = min(pingTimeout, wait)
		}
		by, slack = now.Add(wait), wait/4
	}
	if late := by.Sub(f.armed); late < 0 || late > slack {
		f.armed = by
		_ = f.conn.Conn.SetReadDeadline(by) // a closed connection will tell the read
	}
}

// overdue decides what it means that the client has been silent. Its error ends the connection.
func (f *frameReader) overdue() error {
	c := f.conn
	f.armed = time.Time{}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.budget.left < 0 && !c.budget.filled.IsZero():
		return errCalm
	case f.within:
		if !f.prefaced.Load() {
			return errSilent
		}
		return connError{http2.ErrCodeNo, "a frame came too slowly"}
	case c.serving == 0 && time.Since(c.idleSince) >= c.server.options.IdleTimeout:
		return connError{http2.ErrCodeNo, "the connection was idle"}
	case f.pinged:
		return errSilent
	case c.server.options.IdleTimeout < pingAfter:
		return nil
	}
	f.pinged = true
	c.appendFrame(http2.FramePing, 0, 0, make([]byte, 8))
	c.flushSafely()
	return nil
}

var errSilent = errors.New("listener: the client says nothing")

// begin hands the requests that have arrived to workers, and writes what is left to write, before the client is waited for.
func (c *http2Conn) begin() {
	if len(c.started) > 0 {
		for i, x := range c.started {
			c.started[i] = nil
			c.handOver(x)
		}
		c.started = c.started[:0]
		runtime.Gosched() // some are answered before there is anything to read again
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushSafely()
}

// handOver has a request served, unless the client has cancelled it already.
func (c *http2Conn) handOver(x *http2Stream) {
	c.mu.Lock()
	cancelled := x.failure != nil
	if cancelled {
		c.serving--
	}
	if b := x.body; b != nil && b.asks && (len(b.pieces) > 0 || b.end != nil) {
		// A client that sends the body all the same does not wait, and an app server
		// need not be waited for (RFC 9110 section 10.1.1: 100 may be left out).
		b.asks = false
		delete(x.request.Header, "Expect")
	}
	c.mu.Unlock()
	if !cancelled {
		c.server.workers.run(x)
	}
}

// flushSafely writes what is in out without keeping the goroutine that reads from its work: a client may take nothing until
// what it sends has been read. c.mu is held.
func (c *http2Conn) flushSafely() {
	switch {
	case c.out == nil || c.writing:
	case c.serving == 0:
		c.flush()
	default:
		c.flushElsewhere()
	}
}

// readPreface reads the client's part of the preface, RFC 9113 section 3.4, but for its SETTINGS.
func (c *http2Conn) readPreface() error {
	c.in.expect(c.server.options.ReadHeaderTimeout)
	var said [len(preface)]byte
	if _, err := io.ReadFull(&c.in, said[:]); err != nil {
		return err
	}
	if string(said[:]) != preface {
		return protocolError("this is not HTTP/2's preface")
	}
	f, err := c.framer.ReadFrame()
	if err != nil {
		return frameError(err)
	}
	settings, ok := f.(*http2.SettingsFrame)
	if !ok || settings.IsAck() {
		return protocolError("the preface has no SETTINGS")
	}
	c.in.prefaced.Store(true)
	c.in.between()
	return c.onSettings(settings)
}
