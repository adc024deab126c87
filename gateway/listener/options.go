package listener

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Options says how a Server listens. Handler and at least one protocol are
// required; zero elsewhere means the default that the field names.
type Options struct {
	// Handler answers the requests. It sees r.TLS set on all that came over
	// TLS, and OPTIONS * like any other request.
	Handler http.Handler

	// Context wraps a request's context, so that the Handler need not copy the
	// request to give it another one. Nil: the context stays as it is.
	Context func(context.Context) context.Context

	// HTTP1, HTTP2 and H2C are the protocols that are spoken. HTTP2 is spoken
	// over TLS alone, H2C (HTTP/2 with prior knowledge) without TLS alone.
	HTTP1, HTTP2, H2C bool

	// CertFile and KeyFile are PEM files. Both or none: with them every
	// connection is TLS. They are looked at anew at most once a second, when a client
	// connects; a pair that does not fit together leaves the last good one in use.
	CertFile, KeyFile string

	// ReadHeaderTimeout is what a request's header may take from its first
	// byte, and a TLS handshake as a whole. Default: 10 s.
	ReadHeaderTimeout time.Duration
	// IdleTimeout is how long a connection may stay open between requests.
	// Default: 2 min.
	IdleTimeout time.Duration
	// MinBodyRate is the bytes per second below which a request's body is too
	// slow: 408. Only the time spent waiting for the client counts.
	// Default: 1024; negative: any speed will do. Over HTTP/2 it does not apply to gRPC, nor once the
	// answer has begun, when both sides may have reasons to pause.
	MinBodyRate int
	// BodyGrace is how long a body may stay below that rate: what a client may
	// be silent at a stretch. Default: 10 s.
	BodyGrace time.Duration
	// BodyTimeout is how long the gateway waits for a request's body, all of it: 408.
	// Over HTTP/2 it applies where MinBodyRate does. Default: no bound.
	BodyTimeout time.Duration
	// WriteStall is how long a write may wait for a client that takes nothing.
	// Having nothing to write is no stall. Default: 1 min; negative: for ever.
	WriteStall time.Duration
	// LingerTimeout is how long an HTTP/1 connection is read from after its last answer while the client
	// still sends, so that the client gets to read the answer; a sixth of it where nothing comes.
	// Default: 30 s.
	LingerTimeout time.Duration

	// MaxHeaderBytes bounds the request line and the header together, and the
	// header of an HTTP/2 request likewise: 431. Default: 64 KiB.
	MaxHeaderBytes int
	// MaxHeaderFields bounds the number of header lines: 431. Default: 256.
	MaxHeaderFields int
	// MaxStreams is how many requests one HTTP/2 connection may have at a time.
	// Default: 100.
	MaxStreams int
	// MaxHandshakes is how many TLS handshakes may be under way. One more cuts
	// off the oldest, which honest clients have long finished. Default: 1024.
	MaxHandshakes int
	// MaxConnections is how many connections all listeners of the Server may have together. One more takes the place of one
	// on which nothing is under way; where there is none, it is closed at once. Zero: any number.
	MaxConnections int
	// Reserve are descriptors that are another listener's: while some are in use there, clients get none. Nil: there are none.
	Reserve *Reserve
	// MaxConnectionsPerIP is how many connections one bucket of addresses may
	// have; more are closed at once. Zero: any number.
	MaxConnectionsPerIP int
	// Peer returns the bucket that a peer's address counts in, and whether it
	// counts at all (a trusted proxy does not). Nil: each address is its own.
	Peer func(netip.AddrPort) (bucket netip.Addr, counted bool)

	// DrainDelay is how long Shutdown still serves, with every response telling
	// its client to connect anew, before it closes idle connections. A request that
	// a load balancer sends just then on a connection that it has kept is answered, and not
	// lost. Default: none.
	DrainDelay time.Duration

	// Refused is told of each request that was refused before it reached the
	// Handler. It is called on the connection's goroutine, concurrently, and
	// must not block. Nil: no call is made.
	Refused func(peer net.Addr, err *RequestError)
	// Logger hears what operators should know; what clients do wrong is debug
	// output. Nil: slog.Default.
	Logger *slog.Logger
	// Now is the clock for certificates and Date headers; nil: time.Now. It is
	// for tests. Deadlines on sockets keep to the system's clock.
	Now func() time.Time
}

// withDefaults checks the options and fills in what is zero.
func (o Options) withDefaults() (Options, error) {
	switch {
	case o.Handler == nil:
		return o, errors.New("listener: Options.Handler is missing")
	case (o.CertFile == "") != (o.KeyFile == ""):
		return o, errors.New("listener: CertFile and KeyFile belong together; set both, or none")
	case o.CertFile != "" && o.H2C:
		return o, errors.New("listener: H2C is HTTP/2 without TLS, yet there is a CertFile; use HTTP2")
	case o.CertFile != "" && !o.HTTP1 && !o.HTTP2, o.CertFile == "" && !o.HTTP1 && !o.H2C:
		return o, errors.New("listener: no protocol is left to speak; set HTTP1, HTTP2 (with TLS) or H2C (without)")
	}
	for _, n := range []struct {
		name  string
		value int
	}{
		{"MaxHeaderBytes", o.MaxHeaderBytes}, {"MaxHeaderFields", o.MaxHeaderFields}, {"MaxStreams", o.MaxStreams},
		{"MaxHandshakes", o.MaxHandshakes}, {"MaxConnections", o.MaxConnections}, {"MaxConnectionsPerIP", o.MaxConnectionsPerIP},
		{"ReadHeaderTimeout", int(o.ReadHeaderTimeout)}, {"IdleTimeout", int(o.IdleTimeout)}, {"BodyGrace", int(o.BodyGrace)}, {"BodyTimeout", int(o.BodyTimeout)},
		{"LingerTimeout", int(o.LingerTimeout)}, {"DrainDelay", int(o.DrainDelay)},
	} {
		if n.value < 0 {
			return o, fmt.Errorf("listener: Options.%s is negative; use 0 for the default", n.name)
		}
	}
	setDefault(&o.ReadHeaderTimeout, 10*time.Second)
	setDefault(&o.IdleTimeout, 2*time.Minute)
	setDefault(&o.MinBodyRate, 1<<10)
	setDefault(&o.BodyGrace, 10*time.Second)
	setDefault(&o.WriteStall, time.Minute)
	setDefault(&o.LingerTimeout, 30*time.Second)
	setDefault(&o.MaxHeaderBytes, 64<<10)
	setDefault(&o.MaxHeaderFields, 256)
	setDefault(&o.MaxStreams, 100)
	setDefault(&o.MaxHandshakes, 1024)
	if o.Peer == nil {
		o.Peer = func(a netip.AddrPort) (netip.Addr, bool) { return a.Addr().Unmap().WithZone(""), true }
	}
	if o.Context == nil {
		o.Context = func(ctx context.Context) context.Context { return ctx }
	}
	if o.Refused == nil {
		o.Refused = func(net.Addr, *RequestError) {}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
