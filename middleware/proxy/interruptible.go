package proxy

import (
	"errors"
	"io"
	"sync"
)

var errInterrupted = errors.New("the attempt that was reading the request's body has ended")

// interruptibleReader is a reader whose caller can stop waiting for a read. The
// read continues in the background, and the next call returns what it brings.
//
// It is for requests over HTTP/2: net/http's RoundTrip does not return before
// the read of the request's body that is under way has ended, not even when the
// connection is lost. On a stream that is open in both directions (gRPC) the
// client may be waiting for the server's next message, so without interruption
// the request would hang for ever.
type interruptibleReader struct {
	source io.Reader

	mu    sync.Mutex
	buf   []byte
	ahead []byte        // part of buf that was read and not returned yet
	err   error         // of the source
	busy  chan struct{} // closed when the read under way has ended; nil: no read is under way
}

const (
	smallRead = 4 << 10  // for streams that are mostly quiet
	largeRead = 16 << 10 // a frame of HTTP/2
)

// read reads like an io.Reader, until interrupt is closed: then it returns
// errInterrupted.
func (r *interruptibleReader) read(p []byte, interrupt <-chan struct{}) (int, error) {
	if busy := r.fetch(); busy != nil {
		select {
		case <-busy:
		case <-interrupt:
			return 0, errInterrupted
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ahead) == 0 {
		return 0, r.err
	}
	n := copy(p, r.ahead)
	r.ahead = r.ahead[n:]
	return n, nil
}

// fetch starts a read if nothing was read ahead. It returns a channel that is
// closed when the read has ended, or nil if there is something to return now.
func (r *interruptibleReader) fetch() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case len(r.ahead) > 0 || r.err != nil:
		return nil
	case r.busy != nil:
		return r.busy
	case r.buf == nil:
		r.buf = make([]byte, smallRead)
	}
	r.busy = make(chan struct{})
	go func() {
		n, err := r.source.Read(r.buf)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ahead, r.err = r.buf[:n], err
		if n == len(r.buf) && n < largeRead {
			r.buf = make([]byte, largeRead) // ahead keeps the old one
		}
		close(r.busy)
		r.busy = nil
	}()
	return r.busy
}

// wait waits for the read under way, if there is one.
func (r *interruptibleReader) wait() {
	r.mu.Lock()
	busy := r.busy
	r.mu.Unlock()
	if busy != nil {
		<-busy
	}
}
