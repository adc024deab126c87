package proxy

import (
	"errors"
	"io"
	"sync"
)

var errLeft = errors.New("nobody waits for the request's body any more")

// leavable is a reader whose reads can be left while they wait. The read goes
// on in the background, and what it brings is there for the next one.
//
// It is for requests over HTTP/2: net/http does not let go of one before the
// read of its body that is under way has ended, not even when the connection has
// died. With a stream that is open both ways (gRPC) the client may be waiting as
// well, for the server's turn, and nobody would ever move again.
type leavable struct {
	source io.Reader

	mu    sync.Mutex
	buf   []byte
	ahead []byte        // of buf: read and not asked for yet
	err   error         // of the source
	busy  chan struct{} // closed when the read under way has ended; nil: there is none
}

const (
	smallRead = 4 << 10  // for streams that are mostly quiet
	largeRead = 16 << 10 // a frame of HTTP/2
)

// read reads like an io.Reader, until leave is closed: then it returns errLeft.
func (l *leavable) read(p []byte, leave <-chan struct{}) (int, error) {
	if busy := l.fetch(); busy != nil {
		select {
		case <-busy:
		case <-leave:
			return 0, errLeft
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ahead) == 0 {
		return 0, l.err
	}
	n := copy(p, l.ahead)
	l.ahead = l.ahead[n:]
	return n, nil
}

// fetch begins a read if one is needed, and returns what is closed at its end;
// nil if something is there.
func (l *leavable) fetch() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.ahead) > 0 || l.err != nil:
		return nil
	case l.busy != nil:
		return l.busy
	case l.buf == nil:
		l.buf = make([]byte, smallRead)
	}
	l.busy = make(chan struct{})
	go func() {
		n, err := l.source.Read(l.buf)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ahead, l.err = l.buf[:n], err
		if n == len(l.buf) && n < largeRead {
			l.buf = make([]byte, largeRead) // ahead keeps the old one
		}
		close(l.busy)
		l.busy = nil
	}()
	return l.busy
}

// settle waits for the read under way, if there is one.
func (l *leavable) settle() {
	l.mu.Lock()
	busy := l.busy
	l.mu.Unlock()
	if busy != nil {
		<-busy
	}
}

// mayBeHTTP2 reports whether one of the servers may speak HTTP/2.
func (p *pool) mayBeHTTP2() bool {
	switch p.cfg.Protocol {
	case HTTP1:
		return false
	case HTTP2, H2C:
		return true
	}
	for _, m := range p.members {
		if m.server.url.Scheme == "https" {
			return true
		}
	}
	return false
}
