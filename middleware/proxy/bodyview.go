package proxy

import (
	"io"
	"maps"
	"net/http"
	"sync/atomic"
)

// attach gives an attempt's request its view of the body and its trailers.
func (b *requestBody) attach(a *attempt, req *http.Request) {
	view := &b.view
	if view.body != nil {
		view = new(bodyView)
	}
	view.body, view.attempt = b, a
	if b.interruptible != nil {
		view.interrupt = make(chan struct{})
	}
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

	closed    atomic.Bool
	interrupt chan struct{} // closed with the view; nil where the source is read without being interruptible
}

func (v *bodyView) Read(p []byte) (int, error) {
	if v.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	if c := v.attempt.overHTTP2; c != nil {
		c.clientsTurn()
		defer c.serversTurn()
	}
	n, err := v.body.readAt(p, v.offset, v.interrupt)
	v.offset += int64(n)
	if err == io.EOF && v.trailer != nil {
		v.body.copyTrailer(v.trailer)
	}
	return n, err
}

// Close closes the view. The body stays open, since another attempt may need it.
func (v *bodyView) Close() error {
	if v.closed.CompareAndSwap(false, true) && v.interrupt != nil {
		close(v.interrupt)
	}
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
