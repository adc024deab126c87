package wire

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
)

// secured is the listener that net/http accepts from where there is TLS. It
// hands out connections whose handshake is done, so that one that is slow
// keeps nobody waiting.
type secured struct {
	*acceptor
	server *Server
	ready  chan net.Conn
	failed chan error // what has ended accepting
	done   chan struct{}
	once   sync.Once
	work   sync.WaitGroup // accepting, and handshakes
}

func newSecured(a *acceptor, s *Server) *secured {
	l := &secured{acceptor: a, server: s, ready: make(chan net.Conn), failed: make(chan error, 1), done: make(chan struct{})}
	l.work.Go(l.run)
	return l
}

// run accepts until the listener is closed.
func (l *secured) run() {
	for {
		s, err := l.accept()
		if err != nil {
			l.failed <- err
			return
		}
		l.work.Go(func() { l.secure(s) })
	}
}

// secure hands the socket over, once TLS is spoken on it.
func (l *secured) secure(s *socket) {
	c, err := l.server.handshake(s)
	if err != nil {
		l.log.Debug("no TLS connection", "peer", s.RemoteAddr(), "error", err)
		s.Close()
		return
	}
	select {
	case l.ready <- c:
	case <-l.done:
		c.Close()
	}
}

func (l *secured) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case err := <-l.failed:
		return nil, err
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *secured) Close() error {
	err := l.Listener.Close()
	l.once.Do(func() { close(l.done) })
	return err
}

// handshake returns the connection as net/http must have it: only a *tls.Conn
// can speak HTTP/2 there.
func (s *Server) handshake(sock *socket) (net.Conn, error) {
	e, ok := s.handshakes.add(sock)
	if !ok {
		return nil, net.ErrClosed
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.options.ReadHeaderTimeout)
	defer cancel()
	c := tls.Server(sock, s.tls)
	err := c.HandshakeContext(ctx)
	s.handshakes.remove(e)
	if err != nil {
		var notTLS tls.RecordHeaderError
		if errors.As(err, &notTLS) && notTLS.Conn != nil && looksLikeHTTP(notTLS.RecordHeader) {
			_, _ = notTLS.Conn.Write(bad("this port speaks HTTPS, and the request came without TLS").message(s.options.Now()))
			sock.linger()
		}
		return nil, err
	}
	if c.ConnectionState().NegotiatedProtocol == protoHTTP2 {
		return c, nil
	}
	return tlsHTTP1Conn{newHTTP1Conn(c, sock, s.options, false), c}, nil
}

// looksLikeHTTP reports whether the first bytes are of a method and not of TLS.
func looksLikeHTTP(b [5]byte) bool {
	for _, m := range []string{
		http.MethodGet + " /", http.MethodHead + " ", http.MethodPost + " ", http.MethodPut + " /", http.MethodOptions, http.MethodDelete, http.MethodPatch,
	} {
		if string(b[:]) == m[:5] {
			return true
		}
	}
	return false
}

// handshakes are those under way: so many that the oldest is cut off for one more.
type handshakes struct {
	max int

	mu     sync.Mutex
	oldest list.List // of io.Closer, in the order of their beginning
	closed bool
}

func (h *handshakes) add(c io.Closer) (*list.Element, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, false
	}
	if h.oldest.Len() >= h.max {
		h.cut(h.oldest.Front())
	}
	return h.oldest.PushBack(c), true
}

func (h *handshakes) remove(e *list.Element) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.oldest.Remove(e) // which does nothing if it was cut off
}

// cut ends a handshake, which will then find itself removed.
func (h *handshakes) cut(e *list.Element) {
	h.oldest.Remove(e)
	e.Value.(io.Closer).Close()
}

// close cuts off all of them, and lets none begin.
func (h *handshakes) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for e := h.oldest.Front(); e != nil; e = h.oldest.Front() {
		h.cut(e)
	}
}
