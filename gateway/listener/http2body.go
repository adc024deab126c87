package listener

import (
	"io"
	"maps"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/httpx"
)

// http2Body is a request's body on an HTTP/2 stream. The connection's goroutine puts into it what arrives; handlers
// read it, often on another goroutine than their own. How much the client may send ahead is the stream's window: it is
// small at first, and grows where the handler keeps up.
type http2Body struct {
	x       *http2Stream
	rate    bodyRate
	timed   bool // the rate is to be kept to, until the answer begins
	refusal atomic.Pointer[RequestError]

	reading sync.Mutex // held while a read is under way

	// The rest is guarded by the connection's mutex.

	pieces   []*[]byte // that have arrived and not been read; of the first one, from at on
	at       int
	length   int64 // as declared; -1: it was not
	received int64
	end      error // what comes behind the pieces; nil: more of them
	trailer  http.Header
	closed   bool // by the handler
	asks     bool // the client waits for 100 (Continue)
	readable signal
	window   recvWindow
}

// Sizes of windows for what the client sends: at first, and at most, for a stream and for all of a connection's.
// What has arrived and is not read takes memory, so the latter bounds that.
const (
	streamWindow     = 64<<10 - 1 // what clients begin with, RFC 9113 section 6.9.2
	mostStreamWindow = 1 << 20
	connWindow       = 256 << 10
	mostConnWindow   = 2 << 20
)

// recvWindow is a window for what the client sends.
type recvWindow struct {
	size  int // of the whole
	left  int // that the client has
	spent int // bytes that were read since the client was told last
}

// take takes n bytes that have arrived, and reports whether the client was allowed to send them.
func (w *recvWindow) take(n int) bool {
	w.left -= n
	return w.left >= 0
}

// free notes n bytes that were read, and returns how much the client is to be told that it may send, or 0. The
// window grows up to most where the reader waits for more.
func (w *recvWindow) free(n, most int, waits bool) int {
	w.spent += n
	if w.spent < w.size/2 {
		return 0
	}
	more := w.spent
	if waits && w.size < most {
		grown := min(2*w.size, most)
		more += grown - w.size
		w.size = grown
	}
	w.spent = 0
	w.left += more
	return more
}

func newHTTP2Body(x *http2Stream) *http2Body {
	r, o := x.request, x.conn.server.options
	b := &http2Body{x: x, length: r.ContentLength, rate: newBodyRate(o), window: recvWindow{size: streamWindow, left: streamWindow}}
	b.timed = !b.rate.off() && !httpx.IsGRPC(r.Header)
	b.asks = len(r.Header["Expect"]) > 0
	return b
}

// put takes data that has arrived, and reports whether the body may have it: it must not be longer than declared. c.mu
// is held.
func (b *http2Body) put(data []byte) bool {
	b.received += int64(len(data))
	if b.length >= 0 && b.received > b.length {
		return false
	}
	if b.closed || b.end != nil { // the handler does not want it
		b.x.conn.freed(len(data), false)
		return true
	}
	for len(data) > 0 {
		if n := len(b.pieces); n == 0 || len(*b.pieces[n-1]) == cap(*b.pieces[n-1]) {
			b.pieces = append(b.pieces, getBuffer())
		}
		last := b.pieces[len(b.pieces)-1]
		n := min(len(data), cap(*last)-len(*last))
		*last = append(*last, data[:n]...)
		data = data[n:]
	}
	b.readable.raise()
	return true
}

// finish ends the body, and reports whether it is as long as declared. c.mu is held.
func (b *http2Body) finish(trailer http.Header) bool {
	if b.length >= 0 && b.received != b.length {
		return false
	}
	b.trailer = trailer
	b.fail(io.EOF)
	return true
}

// fail ends the body. c.mu is held.
func (b *http2Body) fail(err error) {
	if b.end == nil {
		b.end = err
	}
	b.readable.raise()
}

// drop forgets what was not read. c.mu is held.
func (b *http2Body) drop() {
	b.closed = true
	unread := -b.at
	for _, p := range b.pieces {
		unread += len(*p)
		putBuffer(p)
	}
	b.pieces, b.at = nil, 0
	b.x.conn.freed(max(unread, 0), false)
	b.readable.raise()
}

// Close implements io.Closer. What the client still sends is thrown away.
func (b *http2Body) Close() error {
	c := b.x.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if !b.closed {
		b.drop()
		c.flush()
	}
	return nil
}

// Read implements io.Reader. A body that is too slow ends in a *RequestError.
func (b *http2Body) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	c := b.x.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := b.await(); err != nil {
		return 0, err
	}
	n := 0
	for n < len(p) && len(b.pieces) > 0 {
		first := b.pieces[0]
		m := copy(p[n:], (*first)[b.at:])
		n += m
		if b.at += m; b.at < len(*first) {
			break
		}
		putBuffer(first)
		b.pieces[0] = nil
		b.pieces, b.at = b.pieces[1:], 0
	}
	if b.timed && !b.x.begun {
		b.rate.spend(0, n)
	}
	b.freed(n)
	c.flush()
	if len(b.pieces) == 0 && b.end == io.EOF {
		return n, b.whole()
	}
	return n, nil
}

// await waits until there is something to read. Its error is why there is nothing.
func (b *http2Body) await() error {
	c := b.x.conn
	for {
		switch {
		case b.closed:
			return http.ErrBodyReadAfterClose
		case len(b.pieces) > 0:
			return nil
		case b.end == io.EOF:
			return b.whole()
		case b.end != nil:
			return b.end
		}
		if b.asks {
			b.asks = false
			b.x.interim(http.StatusContinue, nil)
			continue // the lock was released meanwhile
		}
		if c.flush() {
			continue
		}
		if err := b.wait(); err != nil {
			return err
		}
	}
}

// wait waits for the client, for as long as the body's bounds in time allow.
func (b *http2Body) wait() error {
	x := b.x
	by, timed := x.readBy, b.timed && !x.begun
	start := time.Now()
	if timed {
		if b.rate.patience() <= 0 {
			return b.late()
		}
		by = earlier(by, start.Add(b.rate.patience()))
	}
	b.readable.wait(&x.conn.mu, by)
	now := time.Now()
	if timed {
		b.rate.spend(now.Sub(start), 0)
	}
	if len(b.pieces) == 0 && b.end == nil && !x.readBy.IsZero() && !now.Before(x.readBy) {
		return os.ErrDeadlineExceeded // the handler's own deadline; it may go on
	}
	return nil
}

// late ends a body that came too slowly.
func (b *http2Body) late() error {
	offence := tooSlow("body")
	b.refusal.Store(offence)
	b.end = offence
	return offence
}

// whole is called when the body has been read to its end.
func (b *http2Body) whole() error {
	if b.trailer != nil {
		r := b.x.request
		if r.Trailer == nil {
			r.Trailer = http.Header{}
		}
		maps.Copy(r.Trailer, b.trailer)
		b.trailer = nil
	}
	return io.EOF
}

// padded accounts for bytes of a frame that bring no data. c.mu is held.
func (b *http2Body) padded(n int) {
	if n > 0 {
		b.freed(n)
	}
}

// freed tells the client how much more it may send, now that n bytes have been read.
func (b *http2Body) freed(n int) {
	waits := len(b.pieces) == 0
	if b.end == nil {
		if more := b.window.free(n, mostStreamWindow, waits); more > 0 {
			b.x.conn.appendWindowUpdate(b.x.id, more)
		}
	}
	b.x.conn.freed(n, waits)
}

// freed gives n bytes of the connection's window back to the client. c.mu is held.
func (c *http2Conn) freed(n int, waits bool) {
	if more := c.recv.free(n, mostConnWindow, waits); more > 0 {
		c.appendWindowUpdate(0, more)
	}
}
