package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/headgate/headgate/middleware/clientip"
)

// Options are what an upstream is made of. Config and Logger are required.
type Options struct {
	// Name is for logs, errors and the Observer. Empty: "upstream".
	Name string
	// Pseudonym is the gateway's name in the Via of requests (RFC 9110 section 7.6.3). A request whose Via
	// has it already is refused with 508, so each gateway needs one of its own, a token. Empty: "headgate",
	// and no request is refused.
	Pseudonym string
	// Config names the servers and how they are used. [Upstream.Update]
	// replaces it later.
	Config Config

	// Logger is told of servers that fail and recover, at Warn and Info.
	Logger *slog.Logger
	// Observer is told of every attempt at a server, on the request's path:
	// it must be fast, and safe for concurrent use. Nil: attempts are not
	// reported.
	Observer func(Attempt)
	// WaitObserver is told of every request that finds all servers at
	// Config.MaxConnections, as the Observer is of attempts. Nil: no one is.
	WaitObserver func(Wait)
	// Resolver finds the client's address where no clientip middleware has
	// done so. Nil: the address of the socket's peer, with IPv6 clients told
	// apart by their /64.
	Resolver *clientip.Resolver
	// DNS is asked for the addresses of servers that are named. Nil: Go's
	// resolver, with the system's configuration. *net.Resolver is one.
	DNS interface {
		// LookupNetIP returns the addresses of a host; network is "ip4" or "ip6".
		LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	}
	// Upgrades keeps the connections that were upgraded to WebSocket, so that
	// a shutdown can end them. It may serve several upstreams. Nil: the
	// upstream has its own, and they end when the client or the server closes
	// them.
	Upgrades *Upgrades
	// HalfClosedSilence is how long the direction that is left of an upgraded connection may be silent,
	// once the other one has ended: client or server may be gone without a word. Zero: 1 minute.
	HalfClosedSilence time.Duration

	// Buffers is where bodies lie that are read ahead. It may serve several
	// upstreams. Nil: the upstream has DefaultBuffers of its own.
	Buffers *Buffers

	// Now is the clock for ejections, slow start and measurements; timeouts
	// and the health checks' schedule run on the real one. Nil: time.Now. It
	// is there for tests.
	Now func() time.Time
	// Transport answers in place of the named upstream's servers; everything
	// else that the proxy does stays as it is, but for health checks, which
	// are off. Nil: connections to the servers. It is there for tests.
	Transport func(upstream string) http.RoundTripper
}

// withDefaults fills in what the zero fields stand for.
func (o Options) withDefaults() (Options, error) {
	if o.Logger == nil {
		return o, errors.New("proxy: Options.Logger is missing; slog.New(slog.DiscardHandler) is silent")
	}
	orDefault(&o.Name, "upstream")
	orDefault(&o.Upgrades, NewUpgrades())
	orDefault(&o.HalfClosedSilence, time.Minute)
	if o.Buffers == nil {
		o.Buffers = NewBuffers(DefaultBuffers, "")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Resolver == nil {
		peers, err := clientip.New(clientip.Options{})
		if err != nil {
			return o, err
		}
		o.Resolver = peers
	}
	o.Logger = o.Logger.With("upstream", o.Name)
	return o, nil
}
