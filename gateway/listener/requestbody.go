package listener

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"github.com/headgate/headgate/internal/http1"
)

// requestBody is what a request brings behind its head. Handlers read it, often
// on another goroutine than their own; what they leave is the connection's to
// deal with.
type requestBody struct {
	conn    *http1Conn
	request *http.Request
	rate    bodyRate
	closed  atomic.Bool // by the handler
	aborted atomic.Bool // the handler is gone; no read goes on
	refusal atomic.Pointer[RequestError]

	askMu  sync.Mutex   // held while the client is asked: the answer must not begin before that is done
	asking atomic.Int32 // whether the client waits to be asked for it: 100 (Continue)

	mu   sync.Mutex // held while a read is under way
	data http1.Body
	err  error // how it ended: io.EOF, or why it can't be read any further
}

// Of requests with Expect: 100-continue, RFC 9110 section 10.1.1.
const (
	needNotAsk int32 = iota
	mustAsk
	asked
	neverAsked // the answer began before
)

func newRequestBody(c *http1Conn, h *http1.RequestHead) *requestBody {
	b := &requestBody{conn: c, data: http1.NewBody(h.Body), rate: newBodyRate(c.server.options)}
	switch {
	case h.Expect && c.r < c.w:
		// A client that sends the body all the same does not wait, and an app server
		// need not be waited for (RFC 9110 section 10.1.1: 100 may be left out).
		delete(h.Header, "Expect")
	case h.Expect:
		b.asking.Store(mustAsk)
	}
	return b
}

// arrived reports whether all of the body lies in the connection's buffer: to read it, nothing more is read from the
// connection. It is called before the handler.
func (b *requestBody) arrived() bool {
	return b.data.Left() > 0 && b.data.Left() <= int64(b.conn.w-b.conn.r)
}

// ask asks the client for the body, unless that has been done, or the answer
// has begun. What is sent for it must not come to lie within the answer.
func (b *requestBody) ask(send func()) {
	b.askMu.Lock()
	defer b.askMu.Unlock()
	if b.asking.CompareAndSwap(mustAsk, asked) {
		send()
	}
}

// neverAsk is called when the answer begins. It reports whether the client
// still waited to be asked.
func (b *requestBody) neverAsk() bool {
	b.askMu.Lock()
	defer b.askMu.Unlock()
	return b.asking.CompareAndSwap(mustAsk, neverAsked)
}

// Read implements io.Reader. A body that is malformed or too slow ends in a
// *RequestError, one that breaks off in io.ErrUnexpectedEOF.
func (b *requestBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.read(p)
}

// Close implements io.Closer. The rest is not read here: whether it is worth it
// is seen when the handler returns.
func (b *requestBody) Close() error {
	b.closed.Store(true)
	return nil
}

func (b *requestBody) read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	if b.asking.Load() == mustAsk {
		b.ask(b.conn.sendContinue)
	}
	n, err := b.data.Read(b, p)
	if err != nil {
		err = b.end(err)
	}
	return n, err
}

// Take implements http1.Source.
func (b *requestBody) Take(p []byte) (int, error) { return b.conn.take(p, b) }

// TakeLine implements http1.Source.
func (b *requestBody) TakeLine(most int) ([]byte, error) { return b.conn.takeLine(most, b) }

// HasLine implements http1.Source.
func (b *requestBody) HasLine() bool { return b.conn.hasLine() }

// end notes how the body has ended, and returns it as the handler is told.
func (b *requestBody) end(err error) error {
	if malformed, ok := err.(*http1.Error); ok {
		err = refusalOf(malformed)
	}
	var offence *RequestError
	switch {
	case err == io.EOF:
		if fields := b.data.Trailer(); len(fields) > 0 {
			if b.request.Trailer == nil {
				b.request.Trailer = http.Header{}
			}
			maps.Copy(b.request.Trailer, fields)
		}
		b.conn.bodyRead()
	case errors.As(err, &offence):
		b.refusal.Store(offence) // the handler finds it malformed, and answers
		b.conn.server.options.Refused(b.conn.RemoteAddr(), offence)
	case errors.Is(err, os.ErrDeadlineExceeded) && !b.aborted.Load():
		return err // the handler's own deadline; it may go on
	}
	b.err = err
	return err
}

// abandon leaves the rest of the body to the handler that has hijacked the connection.
// A read that is under way has been told to end; none may begin.
func (b *requestBody) abandon() {
	b.closed.Store(true)
	b.neverAsk()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = http.ErrBodyReadAfterClose
	}
}

// drain ends the handler's reading, and reports whether the body has been read
// to its end. It takes in up to limit bytes that the handler has left.
func (b *requestBody) drain(limit int) bool {
	if !b.mu.TryLock() {
		b.aborted.Store(true)
		b.conn.deadline.abort()
		b.mu.Lock()
	}
	whole, left := b.err == io.EOF, b.data.Left()
	unread := b.err == nil && b.asking.Load() != mustAsk && b.asking.Load() != neverAsked
	b.mu.Unlock()
	if unread && !b.aborted.Load() && left <= int64(limit) {
		whole = b.discard(limit)
	}
	b.closed.Store(true)
	return whole
}

// drainEarly is drain when the answer begins: what the handler has not read by
// then it will not get.
func (b *requestBody) drainEarly() bool {
	b.mu.Lock()
	whole, open, left := b.err == io.EOF, b.err == nil, b.data.Left()
	b.mu.Unlock()
	if !open {
		return whole
	}
	b.closed.Store(true)
	return left <= maxDiscard && b.discard(maxDiscard)
}

// discard reads what is left, up to a limit.
func (b *requestBody) discard(limit int) bool {
	buf := getBuffer()
	defer putBuffer(buf)
	scratch := (*buf)[:cap(*buf)]
	for limit > 0 {
		n, err := b.read(scratch[:min(len(scratch), limit)])
		if err != nil {
			return err == io.EOF
		}
		limit -= n
	}
	return false
}
