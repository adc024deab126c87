package wire

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Server is a public listener. All methods are safe for concurrent use.
type Server struct {
	options    *Options
	http       *http.Server
	tls        *tls.Config // nil without
	peers      *peers
	handshakes handshakes

	draining atomic.Bool // answers end their connection

	closeOnce sync.Once
	closed    chan struct{}
}

// ALPN names, RFC 7301.
const (
	protoHTTP1 = "http/1.1"
	protoHTTP2 = "h2"
)

// Timeouts of HTTP/2 connections. One that has been silent for as long as the
// first is asked whether anybody is there, and closed if no answer comes.
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
		closed:     make(chan struct{}),
	}
	if o.CertFile != "" {
		cert, err := loadCertificate(o.CertFile, o.KeyFile, o.Logger, o.Now)
		if err != nil {
			return nil, fmt.Errorf("wire: %w", err)
		}
		s.tls = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cert.get}
		if o.HTTP2 {
			s.tls.NextProtos = append(s.tls.NextProtos, protoHTTP2)
		}
		if o.HTTP1 {
			s.tls.NextProtos = append(s.tls.NextProtos, protoHTTP1)
		}
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(o.HTTP1)
	protocols.SetHTTP2(o.HTTP2 && s.tls != nil)
	protocols.SetUnencryptedHTTP2(o.H2C)
	s.http = &http.Server{
		Handler:                      &handler{next: o.Handler, options: s.options, draining: &s.draining},
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            o.ReadHeaderTimeout,
		IdleTimeout:                  o.IdleTimeout,
		// The framer and the handler keep to the limit itself, and have a better answer.
		MaxHeaderBytes: 2 * o.MaxHeaderBytes,
		Protocols:      protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: o.MaxStreams,
			SendPingTimeout:      pingAfter,
			PingTimeout:          pingTimeout,
		},
		ErrorLog: slog.NewLogLogger(clientFaults{o.Logger.Handler()}, slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if h := http1(c); h != nil {
				return context.WithValue(ctx, connKey{}, h)
			}
			return ctx
		},
		ConnState: func(c net.Conn, state http.ConnState) {
			if h := http1(c); h != nil {
				h.state(state)
			}
		},
	}
	return s, nil
}

// Serve accepts connections and serves them until Shutdown or Close, when it
// returns http.ErrServerClosed; any other error says why the listener does not
// work any more. It closes the listener. Several may be served at once.
func (s *Server) Serve(l net.Listener) error {
	a := &acceptor{Listener: l, peers: s.peers, stall: s.options.WriteStall, log: s.options.Logger, closed: s.closed}
	if s.tls == nil {
		return s.http.Serve(plain{a, s.options})
	}
	sl := newSecured(a, s)
	err := s.http.Serve(sl)
	sl.Close()
	sl.work.Wait()
	return err
}

// Shutdown drains the server. For the time of Options.Lull, clients are told
// to connect anew. Then no connection is accepted, idle ones are closed, and
// so are those whose TLS handshake is not finished; requests in flight may end
// until ctx does, whose error is then returned. Upgraded connections are left
// alone. One that has been accepted, and has said nothing yet, has five seconds to.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	if s.options.Lull > 0 {
		lull := time.NewTimer(s.options.Lull)
		defer lull.Stop()
		select {
		case <-lull.C:
		case <-s.closed:
		case <-ctx.Done():
		}
	}
	s.stopHandshakes()
	return s.http.Shutdown(ctx)
}

// Close closes the listeners and all connections but upgraded ones.
func (s *Server) Close() error {
	s.stopHandshakes()
	return s.http.Close()
}

func (s *Server) stopHandshakes() {
	s.closeOnce.Do(func() { close(s.closed) })
	s.handshakes.close()
}

// clientFaults passes everything on as debug output: what net/http logs is the
// fault of clients, and there is no end to it.
type clientFaults struct{ slog.Handler }

func (h clientFaults) Enabled(ctx context.Context, _ slog.Level) bool {
	return h.Handler.Enabled(ctx, slog.LevelDebug)
}
