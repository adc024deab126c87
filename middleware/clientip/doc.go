// Package clientip finds out who is asking: the address that a request truly comes
// from, behind any number of proxies, whatever the client itself claims.
//
//	resolver, err := clientip.New(clientip.Options{
//		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
//	})
//	...
//	e.IPExtractor = resolver.Extractor() // c.RealIP() tells the truth
//	e.Use(resolver.Middleware())         // clientip.FromContext(r.Context())
//
// # How an address is found
//
// The one word that can't be forged is the socket's: the peer's address. If the peer is
// no trusted proxy, it is the client, and no header is looked at. If it is one, then
// the last element of the header was appended by it and names who asked it; if that is
// a trusted proxy too, the element before was appended by that one, and so on, over all
// lines of the header as over one list. The first address that is not a trusted proxy's
// is the client's. All further to the left may be the client's invention and is not
// read. If the header ends first, the client is the furthest of the trusted addresses:
// a request that began inside the trusted network.
//
// Exactly one header is read, the one that [Options].Header names: a proxy maintains
// one of them and passes on the others as the client wrote them. X-Real-IP,
// True-Client-IP, CF-Connecting-IP and their kind are read where they are that one: they
// hold a single address, which a trusted peer has put there.
//
// With [Options].TrustedHops the addresses are counted instead of compared: the client is
// the one that many places from the right.
//
// The addresses may have ports, brackets and zones. Zones are dropped, and IPv4-mapped
// IPv6 (::ffff:192.0.2.1) is the IPv4 address that it means. A Forwarded header (RFC
// 7239) may have quoted strings and other parameters. Empty list elements are skipped
// (RFC 9110 section 5.6.1).
//
// # What it promises when things go wrong
//
// An element that names no address ends the walk at the address it has reached, the
// trusted proxy that wrote the element: garbage, RFC 7239's "unknown" and "_hidden"
// identifiers, an element that is too long (128 bytes, in Forwarded 1 KiB), and the
// 101st step. To step over such an element would believe words whose author is unknown;
// to start again at the peer would take one proxy for another. So those requests count
// as the proxy's own and share its limits, which errs towards limiting too much, and no
// client can bring it about from outside: its words stand to the left of its address,
// where the walk does not go.
//
// A Unix socket's peer has no address. It is a process of this machine that the
// socket's permissions have let in, so it counts as 127.0.0.1, and its header is
// believed if TrustedProxies holds that address.
//
// A peer whose address is not known at all (an http.Request made by hand) gives the
// zero [netip.Addr], and its headers are not believed. As a key that is one bucket for
// all of them.
//
// The work per request is bounded however long the header is, and without trusted
// proxies nothing is allocated.
package clientip
