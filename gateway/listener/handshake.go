package listener

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/headgate/headgate/internal/httpx"
)

// handshake returns the connection on which TLS is spoken. It is run beside the
// accept loop, so that a slow handshake delays no other connection.
func (s *Server) handshake(sock *socket) (*tls.Conn, error) {
	e, ok := s.handshakes.add(sock)
	if !ok {
		return nil, net.ErrClosed
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.options.ReadHeaderTimeout)
	defer cancel()
	c := tls.Server(sock, s.tls)
	err := c.HandshakeContext(ctx)
	defer s.handshakes.remove(e)
	if err != nil {
		var notTLS tls.RecordHeaderError
		if errors.As(err, &notTLS) && notTLS.Conn != nil && looksLikeHTTP(notTLS.RecordHeader) {
			_, _ = notTLS.Conn.Write(bad("this port speaks HTTPS, and the request came without TLS").message(s.options.Now()))
			sock.linger(s.options.LingerTimeout)
		}
		return nil, err
	}
	return c, nil
}

// looksLikeHTTP reports whether the first bytes are of a method and not of TLS.
func looksLikeHTTP(b [5]byte) bool {
	for _, m := range []string{
		http.MethodGet + " /", http.MethodHead + " ", http.MethodPost + " ", http.MethodPut + " /", http.MethodOptions, http.MethodDelete, http.MethodPatch, httpx.MethodQuery,
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
