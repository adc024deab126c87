package proxy

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// scheme is what the client spoke.
func (tx *transaction) scheme() string {
	switch {
	case tx.route.Scheme != nil:
		return tx.route.Scheme(tx.in)
	case tx.in.TLS != nil:
		return "https"
	}
	return "http"
}

// setForwarded tells the server the client's address, the host that it asked
// for, and the scheme.
//
// X-Forwarded-For holds one address, the client's, as package clientip
// determined it. A server reads the right one whether it takes the first
// element or the last. The proxies in between are in Via.
func (tx *transaction) setForwarded(out *http.Request) {
	scheme := tx.scheme()
	client := tx.client
	address := "unknown" // RFC 7239 section 6.2
	v := &tx.values
	if client.IsValid() {
		address = client.String()
		v.forwardedFor[0] = address
		out.Header["X-Forwarded-For"] = v.forwardedFor[:]
	}
	if tx.in.Host != "" { // HTTP/1.0 allows a request without Host
		v.forwardedHost[0] = tx.in.Host
		out.Header["X-Forwarded-Host"] = v.forwardedHost[:]
	}
	v.forwardedProto[0] = scheme
	v.forwarded[0] = forwardedElement(client, address, tx.in.Host, scheme)
	out.Header["X-Forwarded-Proto"] = v.forwardedProto[:]
	out.Header["Forwarded"] = v.forwarded[:]
}

// forwardedElement writes one element of Forwarded, RFC 7239 section 4. IPv6
// addresses and hosts with ports are not tokens, so they are quoted.
func forwardedElement(client netip.Addr, address, host, scheme string) string {
	var b strings.Builder
	b.Grow(len("for=\"[]\";host=\"\";proto=") + len(address) + len(host) + len(scheme))
	b.WriteString("for=")
	if client.Is6() {
		b.WriteString(`"[`)
		b.WriteString(address)
		b.WriteString(`]"`)
	} else {
		b.WriteString(address)
	}
	if host != "" {
		b.WriteString(";host=")
		if httpx.IsToken(host) {
			b.WriteString(host)
		} else {
			b.WriteByte('"')
			for i := range len(host) {
				if host[i] == '"' || host[i] == '\\' {
					b.WriteByte('\\')
				}
				b.WriteByte(host[i])
			}
			b.WriteByte('"')
		}
	}
	b.WriteString(";proto=")
	b.WriteString(scheme)
	return b.String()
}
