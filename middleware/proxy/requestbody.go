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

	view          bodyView             // the first attempt's
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

// takeBody takes the body over from the outbound request, and reads it ahead where it may.
func (tx *transaction) takeBody() *Error {
	b, out := &tx.body, tx.out
	b.tx, b.source = tx, out.Body
	if tx.idempotent && tx.pool.cfg.Retries > 0 || tx.pool.mayBeHTTP2() {
		b.keep = MaxReplay
	}
	if len(out.Trailer) > 0 {
		b.trailers = maps.Clone(out.Trailer)
		tx.cleanTrailer(b.trailers)
		out.Trailer = nil // each attempt has its own
	}
	if tx.readsRequestAhead() {
		return tx.readRequest()
	}
	return nil
}

// readsRequestAhead reports whether the request's body is read before a server is
// chosen.
func (tx *transaction) readsRequestAhead() bool {
	h := tx.in.Header
	return tx.body.source != http.NoBody && tx.pool.cfg.Buffer.Requests > 0 && !tx.route.Unbuffered &&
		h["Expect"] == nil && h["Upgrade"] == nil && !isGRPC(h)
}

// readRequest reads the request's body, so that a slow client does not hold a
// server's connection. What there is no room for streams.
func (tx *transaction) readRequest() *Error {
	b := &tx.body
	if length := tx.in.ContentLength; length > 0 && length <= min(maxAhead, tx.pool.cfg.Buffer.Requests) && tx.up.options.Buffers.memory.Reserve(copyBuffer) {
		if err := b.readShort(); err != nil {
			kind, status := classifyRequestBody(err)
			return tx.newError(kind, status, err)
		}
		return nil
	}
	b.spooled = spool.NewBody(b.source, tx.bodyOptions(tx.pool.cfg.Buffer.Requests, tx.in.ContentLength))
	b.source = b.spooled
	if err := b.spooled.Fill(); err != nil {
		b.done.Store(true)
		b.broken.Store(&err)
		kind, status := classifyRequestBody(err)
		return tx.newError(kind, status, err)
	}
	if err := tx.in.Context().Err(); err != nil {
		kind, status := classifyContext(err)
		return tx.newError(kind, status, err)
	}
	return nil
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

// mayBlock makes reads of the body interruptible where a server may speak HTTP/2,
// unless all of it is there.
func (b *requestBody) mayBlock() {
	if b.tx.pool.mayBeHTTP2() && !b.done.Load() && (b.spooled == nil || !b.spooled.Ended()) {
		b.interruptible = &interruptibleReader{source: b.source}
	}
}

// finish makes later reads of views fail: the source must not be read when the handler has returned, and the buffer is another request's then.
func (b *requestBody) finish() {
	b.over.Store(true)
	if b.spooled != nil {
		b.spooled.Close()
	}
	if b.ahead != nil {
		b.mu.Lock() // is free: nothing waits for the source
		defer b.mu.Unlock()
		b.tx.up.buffers.Put(b.ahead)
		b.tx.up.options.Buffers.memory.Release(copyBuffer)
		b.ahead, b.kept = nil, nil
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
	if b.source == nil || b.done.Load() {
		return true
	}
	length := b.tx.in.ContentLength
	return length >= 0 && b.read.Load() >= length || b.spooled != nil && b.spooled.Ended()
}

// failure is why the client's body could not be read, or nil.
func (b *requestBody) failure() error {
	if err := b.broken.Load(); err != nil {
		return *err
	}
	return nil
}
