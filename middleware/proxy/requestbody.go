package proxy

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/headgate/headgate/middleware/proxy/internal/spool"
)

// MaxReplay is how much of an idempotent request's body is kept, so that the
// request can be tried on another server. A request with a longer one is tried
// once.
const MaxReplay = 64 << 10

var errNotReplayable = errors.New("too much of the request's body has been sent to send it again")

// requestBody is the client's body. Each attempt reads it from the beginning,
// through its own bodyView: first what earlier attempts have read, which is
// kept up to MaxReplay bytes, then from the client. A failed attempt may still
// be inside a read; the next attempt gets what that read brings.
type requestBody struct {
	tx       *transaction
	source   io.ReadCloser // nil: there is no body
	keep     int           // how much may be kept
	trailers http.Header   // those that the client announced, cleaned

	spooled *spool.Body // what was read of the source before a server was chosen; it stands in for the source. Or nil

	interruptible *interruptibleReader // reads the source if a server may speak HTTP/2; else nil

	mu    sync.Mutex // held during a read from the source
	kept  []byte
	ahead []byte // the pooled buffer that kept is in, if the body was read ahead
	end   error  // of the source

	read   atomic.Int64 // from the source
	done   atomic.Bool  // the source has ended
	over   atomic.Bool  // the handler has returned: the source must not be read any more
	broken atomic.Pointer[error]
}

// init takes the body over from the outbound request.
func (b *requestBody) init(tx *transaction, out *http.Request, replay bool) {
	b.tx, b.source = tx, out.Body
	if replay {
		b.keep = MaxReplay
	}
	if len(out.Trailer) > 0 {
		b.trailers = maps.Clone(out.Trailer)
		tx.cleanTrailer(b.trailers)
		out.Trailer = nil // each attempt has its own
	}
}

// maxAhead is how long a body may be that is read into one buffer, and can be sent in one write with the head. Clients send that much at once: it is the first congestion window of TCP (RFC 6928).
const maxAhead = 16 << 10

// readShort reads a body of up to maxAhead bytes, whose buffer counts in the upstream's Buffers.
func (b *requestBody) readShort() error {
	length := b.tx.in.ContentLength
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ahead = b.tx.up.buffers.Get()
	n, err := io.ReadFull(b.source, b.ahead[:length])
	b.read.Store(int64(n))
	b.kept, b.keep = b.ahead[:n], max(b.keep, maxAhead)
	b.end = io.EOF
	b.done.Store(true)
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		b.end = err
		b.broken.Store(&err)
	}
	return err
}

// finish makes later reads of views fail: the source must not be read when the handler has returned, and the buffer is another request's then.
func (b *requestBody) finish() {
	b.over.Store(true)
	if b.ahead == nil {
		return
	}
	b.mu.Lock() // is free: nothing waits for the source
	defer b.mu.Unlock()
	b.tx.up.buffers.Put(b.ahead)
	b.tx.up.options.Buffers.memory.Release(copyBuffer)
	b.ahead, b.kept = nil, nil
}

// mayBlock makes reads of the body interruptible where a server may speak HTTP/2,
// unless all of it is there.
func (b *requestBody) mayBlock() {
	if b.source != nil && b.tx.pool.mayBeHTTP2() && !b.done.Load() && (b.spooled == nil || !b.spooled.Ended()) {
		b.interruptible = &interruptibleReader{source: b.source}
	}
}

// rewindable reports whether the body can be sent once more from its
// beginning. It does not wait for a read that is under way.
func (b *requestBody) rewindable() bool {
	return b.source == nil || b.read.Load() <= int64(b.keep)
}

// ended reports whether the client's body has been read to its end, or can't
// be read any further.
func (b *requestBody) ended() bool {
	length := b.tx.in.ContentLength
	return b.source == nil || b.done.Load() || length >= 0 && b.read.Load() >= length || b.spooled != nil && b.spooled.Ended()
}

// failure is why the client's body could not be read, or nil.
func (b *requestBody) failure() error {
	if err := b.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// attach gives an attempt's request its view of the body and its trailers.
func (b *requestBody) attach(a *attempt, req *http.Request) {
	if b.source == nil {
		return
	}
	view := &bodyView{body: b, attempt: a, closed: make(chan struct{})}
	if b.trailers != nil {
		view.trailer = maps.Clone(b.trailers)
		req.Trailer = view.trailer
	}
	req.Body = view
}

// bodyView is the body as one attempt reads it.
type bodyView struct {
	body    *requestBody
	attempt *attempt
	trailer http.Header // to be filled in at the end; may be nil
	offset  int64
	closed  chan struct{}
	once    sync.Once
}

func (v *bodyView) Read(p []byte) (int, error) {
	select {
	case <-v.closed:
		return 0, http.ErrBodyReadAfterClose
	default:
	}
	if c := v.attempt.overHTTP2; c != nil {
		c.clientsTurn()
		defer c.serversTurn()
	}
	n, err := v.body.readAt(p, v.offset, v.closed)
	v.offset += int64(n)
	if err == io.EOF && v.trailer != nil {
		v.body.copyTrailer(v.trailer)
	}
	return n, err
}

// Close closes the view. The body stays open, since another attempt may need it.
func (v *bodyView) Close() error {
	v.once.Do(func() { close(v.closed) })
	return nil
}

// readAt reads what is kept from the offset on, or else from the source. Closing
// interrupt ends the wait for the source.
func (b *requestBody) readAt(p []byte, offset int64, interrupt <-chan struct{}) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	read := b.read.Load()
	if offset < read {
		if read > int64(len(b.kept)) {
			return 0, errNotReplayable
		}
		return copy(p, b.kept[offset:]), nil
	}
	if b.end != nil {
		return 0, b.end
	}
	n, err := b.readSource(p, interrupt)
	if err == errInterrupted {
		return 0, err
	}
	b.tx.clock.restart()
	read = b.read.Add(int64(n))
	if read <= int64(b.keep) {
		b.kept = append(b.kept, p[:n]...)
	} else {
		b.kept = nil
	}
	if err != nil {
		b.end = err
		b.done.Store(true)
		if err != io.EOF {
			b.broken.Store(&err)
		}
	}
	return n, err
}

func (b *requestBody) readSource(p []byte, interrupt <-chan struct{}) (int, error) {
	if b.interruptible != nil {
		return b.interruptible.read(p, interrupt)
	}
	return b.source.Read(p)
}

// copyTrailer takes over the trailers' values, which net/http has put into the
// inbound request when its body ended.
func (b *requestBody) copyTrailer(dst http.Header) {
	for name := range dst {
		if values := b.tx.in.Trailer[name]; len(values) > 0 {
			dst[name] = values
		}
	}
	b.tx.filter(dst)
}
