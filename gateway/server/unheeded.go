package server

import (
	"fmt"
	"net/netip"
)

// unheeded is the first peer that named a client and is not trusted to.
type unheeded struct {
	peer   netip.Addr
	header string
}

func (u *unheeded) String() string {
	return fmt.Sprintf("%s sends %s and is not in server.trusted_proxies: if it is a proxy, all its clients share one limit", u.peer, u.header)
}

// noteUnheeded counts a request whose peer names a client and is not in trusted_proxies, and logs the first one. A proxy
// that is missing there is the commonest mistake behind a balancer, and otherwise shows as clients that share a limit.
func (s *Server) noteUnheeded(peer netip.Addr, header string) {
	s.metrics.UntrustedForwarded.Inc()
	if s.unheeded.Load() != nil {
		return
	}
	if u := (&unheeded{peer, header}); s.unheeded.CompareAndSwap(nil, u) {
		s.log.Warn(u.String(), "peer", peer, "header", header)
	}
}
