package proxy

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Stream is a response that may last for days: a WebSocket, or a body whose length
// is not known. Its methods are safe for concurrent use, and do nothing once it has ended.
type Stream struct {
	socket *upgradedConn // nil: a body
	server io.Closer     // of the WebSocket

	attempt *attempt // of the body
	body    *requestBody
	read    int64 // bytes of the request's body, at the last Used

	mu   sync.Mutex
	over bool
	cut  atomic.Bool
}

var errCut = errors.New("the gateway has ended the stream")

// Used reports whether the client has sent anything since the last call: through a WebSocket,
// pongs apart, or in a request's body that goes on during the response.
func (s *Stream) Used() bool {
	if s.socket != nil {
		return s.socket.client.used.Swap(false)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.read
	s.read = s.body.read.Load()
	return s.read != before
}

// closing is how long the client of a WebSocket has to answer the close frame.
const closing = time.Second

// End ends the stream, and does not wait for that. A WebSocket's client and server are sent a
// close frame with status 1008 (RFC 6455 section 7.4.1), nothing that they send is passed on
// any more, and the connections are closed after a second at the latest. A body is broken
// off, so that the client sees that it is not whole.
func (s *Stream) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.cut.Swap(true) {
		return
	}
	if s.socket == nil {
		s.attempt.interrupt()
		return
	}
	go s.socket.client.end(policyViolation)
	go s.socket.sendClose(policyViolation)
	time.AfterFunc(closing, func() {
		s.socket.Close()
		s.server.Close()
	})
}

// finish notes that the stream has ended: what it used may be another request's from now on.
func (s *Stream) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
}

// follow tells the route of a stream. What it returns is called when that has ended.
func (tx *transaction) follow(h http.Header, s *Stream) (ended func()) {
	if tx.route.OnStream == nil {
		return func() {}
	}
	done := tx.route.OnStream(tx.in, h, s)
	return func() {
		s.finish()
		if done != nil {
			done()
		}
	}
}
