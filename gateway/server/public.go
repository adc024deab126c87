package server

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/headgate/headgate/gateway/listener"
	"github.com/headgate/headgate/gateway/observe"
	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/policies"
)

// buildPublic sets up the listener's HTTP side.
func (s *Server) buildPublic() error {
	p := s.options.Policy.Server
	s.descriptors = shareDescriptors(knownDescriptors(), p.MaxConnections)
	s.reserve = listener.NewReserve(s.descriptors.adminReserve())
	o := listener.Options{
		Handler:             s,
		Context:             pipeline.NewContext,
		HTTP1:               slices.Contains(p.Protocols, policies.ServerHTTP1),
		HTTP2:               slices.Contains(p.Protocols, policies.ServerHTTP2),
		H2C:                 slices.Contains(p.Protocols, policies.ServerH2C),
		ReadHeaderTimeout:   p.ReadHeaderTimeout,
		IdleTimeout:         p.IdleTimeout,
		MaxHeaderBytes:      int(p.MaxHeaderBytes),
		MinBodyRate:         orNone(int(p.MinBodyRate)),
		BodyGrace:           s.options.BodyGrace,
		BodyTimeout:         p.BodyTimeout,
		WriteStall:          orNone(p.WriteTimeout),
		Reserve:             s.reserve,
		MaxConnections:      s.descriptors.clients,
		MaxConnectionsPerIP: p.MaxConnectionsPerIP,
		MaxStreams:          p.MaxStreams,
		DrainDelay:          p.ShutdownDelay,
		Peer:                s.peer,
		Refused:             s.refused,
		Logger:              s.log,
	}
	if p.TLS != nil {
		o.CertFile, o.KeyFile = string(p.TLS.CertFile), string(p.TLS.KeyFile)
	}
	var err error
	if s.public, err = listener.New(o); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	s.metrics.WatchConnections(func() observe.Connections { return observe.Connections(s.public.Connections()) })
	return nil
}

// orNone is a policy's bound as the listener takes it: there 0 is the default, and negative is none.
func orNone[T int | time.Duration](bound T) T {
	if bound == 0 {
		return -1
	}
	return bound
}

// peer returns the bucket in which a peer's connections are counted. Those of
// trusted proxies are many clients' and not counted.
func (s *Server) peer(addr netip.AddrPort) (bucket netip.Addr, counted bool) {
	gen := s.current.Load()
	ip := addr.Addr().Unmap().WithZone("")
	for _, trusted := range gen.policy.Server.TrustedProxies {
		if trusted.Contains(ip) {
			return ip, false
		}
	}
	return gen.Resolver().Bucket(ip), true
}

// refused notes a request that was refused before it became one.
func (s *Server) refused(peer net.Addr, err *listener.RequestError) {
	s.metrics.Count("", "", err.Status)
	g := s.current.Load()
	if g.logWriter == nil {
		return
	}
	e := observe.Record{Time: s.options.Now(), Status: err.Status, Error: err.Reason}
	if host, _, splitErr := net.SplitHostPort(peer.String()); splitErr == nil {
		e.ClientIP = host
	}
	g.logWriter.Line(func(b []byte) []byte { return g.logFormat.Append(b, &e) })
}
