package clientip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// DefaultIPv6Prefix is how much of an IPv6 address tells clients apart, in bits: a
// subnet, which is the least that a customer gets (RFC 6177), and within which a host
// takes any address it likes (RFC 8981).
const DefaultIPv6Prefix = 64

// DefaultHeader is what an empty [Options.Header] means.
const DefaultHeader = "x-forwarded-for"

// MaxTrustedHops is the largest [Options.TrustedHops].
const MaxTrustedHops = 32

// Headers lists well-known names for [Options.Header], in lower case: the two lists, and then headers that hold a
// single address.
func Headers() []string {
	return []string{strings.ToLower(xForwardedFor.name), strings.ToLower(forwarded.name),
		"cf-connecting-ip", "fastly-client-ip", "fly-client-ip", "true-client-ip", "x-client-ip", "x-envoy-external-address", "x-real-ip"}
}

// Options says whom to believe. The zero value believes nobody: the client is the
// socket's peer.
type Options struct {
	// TrustedProxies are the addresses of the proxies in front of us, all of them,
	// whose word on the client's address is believed. A prefix that covers clients lets
	// those clients name any address as theirs; 0.0.0.0/0 lets everyone. IPv6 prefixes
	// cover no IPv4 address, except those of IPv4-mapped form (::ffff:10.0.0.0/104),
	// which mean the IPv4 prefix. Default: none.
	TrustedProxies []netip.Prefix

	// Header is the one header those proxies maintain: "x-forwarded-for" ([DefaultHeader])
	// or "forwarded" (RFC 7239), in any letter case. Each trusted proxy must append to
	// it or replace it; one that passes on what a client wrote there makes the client's
	// word its own. Any other name is that of a header with a single address, such as
	// "cf-connecting-ip": the client's, which the peer must replace.
	Header string

	// TrustedHops is how many addresses from the right of the list the client's stands,
	// 1 to [MaxTrustedHops], for a chain of proxies whose number is known and whose
	// addresses are not. The peer must be in TrustedProxies all the same. Where the list
	// has fewer addresses, the peer is the client. 0: the list is walked by TrustedProxies.
	TrustedHops int

	// IPv6Prefix is how many leading bits of an IPv6 address make a client's
	// [Resolver.Bucket], 1 to 128; 0 means [DefaultIPv6Prefix].
	IPv6Prefix int
}

// Resolver finds the client's address. It is immutable and safe for concurrent use.
type Resolver struct {
	trusted    []netip.Prefix
	header     headerFormat
	hops       int // 0: the list is walked
	ipv6Prefix int
}

// New makes a Resolver. It fails on a prefix that is not valid, a header that can't be
// read, a TrustedHops that no request can have, and an IPv6Prefix out of range.
func New(o Options) (*Resolver, error) {
	res := &Resolver{ipv6Prefix: o.IPv6Prefix, hops: o.TrustedHops}
	for i, p := range o.TrustedProxies {
		p, ok := normalisePrefix(p)
		if !ok {
			return nil, fmt.Errorf("clientip: TrustedProxies[%d] is not a valid prefix; write it as 10.0.0.0/8 or 2001:db8::/32", i)
		}
		res.trusted = append(res.trusted, p)
	}
	var ok bool
	if res.header, ok = formatOf(o.Header); !ok {
		return nil, fmt.Errorf("clientip: Header %q can't be read; use \"x-forwarded-for\" or \"forwarded\", whichever your proxies append to, or the name of a header with one address", o.Header)
	}
	switch {
	case res.hops < 0 || res.hops > MaxTrustedHops:
		return nil, fmt.Errorf("clientip: TrustedHops %d is out of range; use 1 to %d, or 0 to walk the list", res.hops, MaxTrustedHops)
	case res.hops > 0 && len(res.trusted) == 0:
		return nil, errors.New("clientip: TrustedHops has no effect; name the peer in TrustedProxies")
	case res.hops > 0 && res.header.single:
		return nil, fmt.Errorf("clientip: TrustedHops can't count in %q, which holds one address; leave it out", o.Header)
	}
	if o.IPv6Prefix == 0 {
		res.ipv6Prefix = DefaultIPv6Prefix
	}
	if res.ipv6Prefix < 1 || res.ipv6Prefix > 128 {
		return nil, fmt.Errorf("clientip: IPv6Prefix %d is out of range; use 1 to 128 bits, or 0 for %d", o.IPv6Prefix, DefaultIPv6Prefix)
	}
	return res, nil
}

// normalisePrefix brings a prefix to the form of the addresses it is compared with:
// unmapped.
func normalisePrefix(p netip.Prefix) (netip.Prefix, bool) {
	if !p.IsValid() {
		return p, false
	}
	const mapped = 96 // bits before the IPv4 address in ::ffff:192.0.2.1
	if p.Addr().Is4In6() && p.Bits() >= mapped {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p, true
}

// Resolve is the address of the client that sent r, unmapped and without a zone. It is
// the zero Addr only where r.RemoteAddr tells none, see the package's doc.
func (res *Resolver) Resolve(r *http.Request) netip.Addr {
	return res.resolve(Peer(r.Context(), r.RemoteAddr), r.Header)
}

func (res *Resolver) resolve(addr netip.Addr, h http.Header) netip.Addr {
	if !res.trusts(addr) {
		return addr // by far the most requests; the loop would say the same
	}
	switch lines := h[res.header.name]; {
	case res.header.single:
		return singleAddress(lines, addr)
	case res.hops > 0:
		return res.header.fromRight(lines, res.hops, addr)
	}
	hops := elements{format: &res.header, lines: h[res.header.name], steps: maxSteps}
	for res.trusts(addr) {
		element, ok := hops.previous()
		if !ok {
			break
		}
		before, ok := res.header.address(element)
		if !ok {
			break
		}
		addr = before
	}
	return addr
}

// RemoveUntrusted removes the header of a single address where the peer is no trusted
// proxy, in any spelling that a server might read as it: such a header is passed on, and
// the app server may believe it. X-Forwarded-For and Forwarded are the proxy's to set.
func (res *Resolver) RemoveUntrusted(peer netip.Addr, h http.Header) {
	if !res.header.single || res.trusts(peer) {
		return
	}
	for name := range h {
		if len(name) == len(res.header.name) && strings.EqualFold(strings.ReplaceAll(name, "_", "-"), res.header.name) {
			delete(h, name)
		}
	}
}

func (res *Resolver) trusts(addr netip.Addr) bool {
	for _, p := range res.trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// Peer is the address at the other end of a request's connection: of its RemoteAddr, and of the context that its
// server gave it, which knows the socket.
func Peer(ctx context.Context, remoteAddr string) netip.Addr {
	// A Unix socket first: there RemoteAddr is a file name of the peer's choice, and
	// "192.0.2.1:80" is a file name.
	if local, ok := ctx.Value(http.LocalAddrContextKey).(net.Addr); ok && local.Network() == "unix" {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if addr, err := netip.ParseAddrPort(remoteAddr); err == nil { // as net/http writes it
		return addr.Addr().Unmap().WithZone("")
	}
	addr, _ := parseNode(remoteAddr)
	return addr
}

// nat64 is the prefix under which a translator shows IPv4 clients to an IPv6 network
// (RFC 6052 section 2.1, RFC 7755).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// Bucket is what tells clients apart: an IPv4 address as it is, an IPv6 address masked
// to its prefix, since one client has the whole of it. Addresses that embed an IPv4
// address (::ffff:0:0/96 and 64:ff9b::/96) count as that one: their prefix is the same
// for the entire IPv4 internet.
func (res *Resolver) Bucket(addr netip.Addr) netip.Addr {
	addr = addr.Unmap()
	if !addr.Is6() {
		return addr
	}
	if nat64.Contains(addr) {
		b := addr.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	masked, err := addr.Prefix(res.ipv6Prefix)
	if err != nil {
		panic("clientip: " + err.Error()) // New has checked the range
	}
	return masked.Addr()
}

// Info is who sent a request.
type Info struct {
	Addr   netip.Addr // the client's address, see [Resolver.Resolve]
	Bucket netip.Addr // what it is counted under, see [Resolver.Bucket]
}

// Info is Resolve and Bucket in one.
func (res *Resolver) Info(r *http.Request) Info {
	return res.InfoFrom(Peer(r.Context(), r.RemoteAddr), r.Header)
}

// InfoFrom is Info for a caller that has the connection's [Peer] and the request's header.
func (res *Resolver) InfoFrom(peer netip.Addr, h http.Header) Info {
	addr := res.resolve(peer, h)
	return Info{Addr: addr, Bucket: res.Bucket(addr)}
}
