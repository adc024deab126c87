package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/seldom"
)

// Server is a public listener. All methods are safe for concurrent use.
type Server struct {
	options    *Options
	tls        *tls.Config // nil without
	peers      *peers
	capacity   capacity
	handshakes handshakes
	conns      conns
	workers    workers
	date       dates

	draining atomic.Bool // answers end their connection
	panicked seldom.Line

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	closeOnce sync.Once
	closed    chan struct{}
}

// ALPN names, RFC 7301.
const (
	protoHTTP1 = "http/1.1"
	protoHTTP2 = "h2"
)

// Timeouts of HTTP/2 connections. One that has been silent for as long as the
// first is sent a ping, and closed if its client does not answer.
const (
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second
)

// New makes a server. The certificate is loaded here, and an error if it cannot be.
func New(o Options) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		options:    &o,
		peers:      newPeers(o.MaxConnectionsPerIP, o.Peer),
		handshakes: handshakes{max: o.MaxHandshakes},
		date:       dates{now: o.Now},
		listeners:  map[net.Listener]struct{}{},
		closed:     make(chan struct{}),
	}
	s.capacity.max, s.capacity.conns = o.MaxConnections, &s.conns
	if o.CertFile != "" {
		cert, err := loadCertificate(o.CertFile, o.KeyFile, o.Logger, o.Now)
		if err != nil {
			return nil, fmt.Errorf("listener: %w", err)
		}
		s.tls = &tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: cipherSuites(), GetCertificate: cert.get}
		if o.HTTP2 {
			s.tls.NextProtos = append(s.tls.NextProtos, protoHTTP2)
		}
		if o.HTTP1 {
			s.tls.NextProtos = append(s.tls.NextProtos, protoHTTP1)
		}
	}
	return s, nil
}

// Serve accepts connections and serves them until Shutdown or Close, when it
// returns http.ErrServerClosed; any other error says why the listener does not
// work any more. It closes the listener. Several may be served at once.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	if !s.track(l) {
		return http.ErrServerClosed
	}
	defer s.untrack(l)
	a := &acceptor{Listener: l, peers: s.peers, capacity: &s.capacity, reserve: s.options.Reserve, stall: s.options.WriteStall, log: s.options.Logger, closed: s.closed}
	for {
		sock, err := a.accept()
		switch {
		case err != nil && s.isClosed():
			return http.ErrServerClosed
		case err != nil:
			return err
		case s.tls != nil:
			go s.serveTLS(sock)
		default:
			go s.serveHTTP1(sock, sock)
		}
	}
}

// serveTLS serves a connection once TLS is spoken on it.
func (s *Server) serveTLS(sock *socket) {
	c, err := s.handshake(sock)
	if err != nil {
		s.options.Logger.Debug("no TLS connection", "peer", sock.RemoteAddr(), "error", err)
		sock.Close()
		return
	}
	if c.ConnectionState().NegotiatedProtocol == protoHTTP2 {
		s.serveHTTP2(c, sock, nil)
		return
	}
	s.serveHTTP1(c, sock)
}

// serveHTTP1 serves a connection on which HTTP/1 is spoken, unless it turns out
// to be HTTP/2.
func (s *Server) serveHTTP1(c net.Conn, sock *socket) {
	if hc, err := s.tryHTTP1(c, sock); errors.Is(err, errNotHTTP1) {
		s.serveHTTP2(c, sock, hc.buf[hc.r:hc.w])
	}
}

func (s *Server) tryHTTP1(c net.Conn, sock *socket) (*http1Conn, error) {
	hc := newHTTP1Conn(c, sock, s)
	if !s.conns.add(hc) {
		c.Close()
		return hc, nil
	}
	defer s.conns.remove(hc)
	return hc, hc.serve()
}

// serveHTTP2 serves a connection on which HTTP/2 is spoken, and whose beginning may have been read.
func (s *Server) serveHTTP2(c net.Conn, sock *socket, read []byte) {
	hc := newHTTP2Conn(c, sock, s, read)
	if !s.conns.add(hc) {
		c.Close()
		return
	}
	hc.serve()
}

// track notes a listener that is to be closed with the server.
func (s *Server) track(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed() {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) untrack(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

func (s *Server) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// Shutdown drains the server. For the time of Options.DrainDelay, clients are told
// to connect anew. Then no connection is accepted, idle ones are closed, and
// so are those whose TLS handshake is not finished; requests in flight may end
// until ctx does, whose error is then returned. Upgraded connections are left
// alone. One that has been accepted, and has said nothing yet, has five seconds to.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	if s.options.DrainDelay > 0 {
		delay := time.NewTimer(s.options.DrainDelay)
		defer delay.Stop()
		select {
		case <-delay.C:
		case <-s.closed:
		case <-ctx.Done():
		}
	}
	s.stopAccepting()
	err := s.conns.drain(ctx)
	s.workers.close()
	return err
}

// Close closes the listeners and all connections but upgraded ones.
func (s *Server) Close() error {
	s.stopAccepting()
	s.conns.close()
	s.workers.close()
	return nil
}

func (s *Server) stopAccepting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeOnce.Do(func() { close(s.closed) })
	for l := range s.listeners {
		l.Close()
	}
	s.handshakes.close()
}
