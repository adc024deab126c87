package discovery

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// Resolver asks for a host's addresses; *net.Resolver is one. network is "ip4" or "ip6".
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// NewResolver returns Go's resolver (not the C library's), over connections that dial makes. Nil: net.Dialer's. Where a lookup's context is
// canceled, the lookup ends at once; net.Resolver itself would leave a goroutine behind until a server has answered or its time-out has passed.
func NewResolver(dial func(ctx context.Context, network, address string) (net.Conn, error)) *net.Resolver {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
		return conn, nil
	}}
}
