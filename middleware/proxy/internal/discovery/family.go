package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// family is a version of IP.
type family int

const (
	undecided family = 0
	ipv4      family = 4
	ipv6      family = 6
)

func (f family) other() family { return ipv4 + ipv6 - f }

func (f family) network() string { return fmt.Sprintf("ip%d", f) }

const (
	// connectTimeout bounds the attempt to connect to a family's addresses, connectTo is how many of them are tried.
	connectTimeout = time.Second
	connectTo      = 4
)

func connect(ctx context.Context, to netip.AddrPort) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
	if err != nil {
		return err
	}
	return conn.Close()
}

// preferred is the family that is tried first where the name has both.
func preferred(host string) family {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return ipv4 // most programs that listen on one loopback address listen on 127.0.0.1
	}
	return ipv6 // RFC 8305 section 3
}

// result is an answer for one family.
type result struct {
	addresses []netip.Addr
	err       error
}

// missing reports whether DNS has said that there is no address, in contrast to a lookup that failed.
func (r result) missing() bool {
	var failure *net.DNSError
	return errors.Is(r.err, errNone) || errors.As(r.err, &failure) && failure.IsNotFound
}

// ask returns the name's addresses, of one family. Once there is a family, the other is asked for only when the name has had no address of the
// first twice, or when Recheck was called: where one of two queries fails, what the other one says must not move the traffic.
func (w *Watch) ask(ctx context.Context) ([]netip.Addr, family, error) {
	lookups, cancel := context.WithTimeout(ctx, w.options.Timeout)
	defer cancel()
	if w.recheck.Swap(false) || w.family == undecided {
		return w.askBoth(ctx, lookups)
	}
	r := w.lookup(lookups, w.family)
	if !r.missing() {
		w.absent = 0
		return r.addresses, w.family, r.err
	}
	if w.absent++; w.absent >= dropAfter {
		other := w.family.other()
		if moved := w.lookup(lookups, other); moved.err == nil {
			w.absent = 0
			return moved.addresses, other, nil
		}
	}
	return nil, w.family, r.err
}

// askBoth asks for the addresses of both families, and chooses one.
func (w *Watch) askBoth(ctx, lookups context.Context) ([]netip.Addr, family, error) {
	first := w.family
	if first == undecided {
		first = preferred(w.options.Host)
	}
	second := first.other()
	answered := make(chan result)
	go func() { answered <- w.lookup(lookups, second) }()
	a, b := w.lookup(lookups, first), <-answered
	switch {
	case a.err != nil && b.err != nil:
		if a.missing() {
			return nil, first, b.err
		}
		return nil, first, a.err
	case b.err != nil:
		w.recheckUnless(b.missing())
		return a.addresses, first, nil
	case a.err != nil:
		if w.family != undecided && !a.missing() {
			w.recheckUnless(false)
			return nil, first, a.err
		}
		w.recheckUnless(a.missing())
		return b.addresses, second, nil
	case w.connects(ctx, a):
		return a.addresses, first, nil
	case w.connects(ctx, b):
		return b.addresses, second, nil
	}
	w.recheckUnless(false) // the servers may not have started yet
	return a.addresses, first, nil
}

// recheckUnless has the next round ask for both families again unless the choice is final.
func (w *Watch) recheckUnless(final bool) {
	if !final {
		w.recheck.Store(true)
	}
}

// connects reports whether one of the addresses accepts connections.
func (w *Watch) connects(ctx context.Context, r result) bool {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	some := r.addresses[:min(connectTo, len(r.addresses))]
	accepted := make(chan bool)
	for _, a := range some {
		go func() { accepted <- w.options.Connect(ctx, netip.AddrPortFrom(a, w.options.Port)) == nil }()
	}
	any := false
	for range some {
		if <-accepted {
			any = true
			cancel()
		}
	}
	return any
}

// lookup asks for the addresses of one family, without those that no server can have.
func (w *Watch) lookup(ctx context.Context, f family) result {
	all, err := w.options.Resolver.LookupNetIP(ctx, f.network(), w.options.Host)
	if err != nil {
		return result{err: err}
	}
	var good []netip.Addr
	for _, a := range all {
		a = a.Unmap()
		// 0.0.0.0 is what blocking resolvers answer; connected to, it is the gateway's own machine.
		if a.Is4() == (f == ipv4) && !a.IsUnspecified() && !a.IsMulticast() {
			good = append(good, a)
		}
	}
	slices.SortFunc(good, netip.Addr.Compare)
	good = slices.Compact(good)
	if len(good) == 0 {
		return result{err: errNone}
	}
	return result{addresses: good}
}
