package proxy

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// StripForwarding removes the fields by which a client could make a server see
// another client address, host, path or method than the gateway saw:
// X-Forwarded-*, Forwarded, X-Real-IP, X-Original-URL, X-Rewrite-URL and
// X-HTTP-Method*, in any spelling that a server might read as one of them (CGI
// maps X_Forwarded_For and X-Forwarded-For to the same variable).
func StripForwarding(h http.Header) {
	for name := range h {
		if isForwarding(name) {
			delete(h, name)
		}
	}
}

func isForwarding(name string) bool {
	if len(name) < len("forwarded") {
		return false
	}
	switch name[0] | 0x20 {
	case 'f':
		return len(name) == len("forwarded") && hasFoldedPrefix(name, "forwarded")
	case 'x':
		return hasFoldedPrefix(name, "x-forwarded") ||
			hasFoldedPrefix(name, "x-http-method") ||
			len(name) == len("x-real-ip") && hasFoldedPrefix(name, "x-real-ip") ||
			len(name) == len("x-original-url") && hasFoldedPrefix(name, "x-original-url") ||
			len(name) == len("x-rewrite-url") && hasFoldedPrefix(name, "x-rewrite-url")
	}
	return false
}

// hasFoldedPrefix reports whether the name begins with prefix in lower case,
// with every character but letters and digits read as a hyphen.
func hasFoldedPrefix(name, prefix string) bool {
	if len(name) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		default:
			c = '-'
		}
		if c != prefix[i] {
			return false
		}
	}
	return true
}

// setForwarded tells the server the client's address, the host that it asked
// for, and the scheme.
//
// X-Forwarded-For holds one address, the client's, as package clientip
// determined it. A server reads the right one whether it takes the first
// element or the last. The proxies in between are in Via.
func (tx *transaction) setForwarded(out *http.Request) {
	scheme := "http"
	if tx.route.Scheme != nil {
		scheme = tx.route.Scheme(tx.in)
	} else if tx.in.TLS != nil {
		scheme = "https"
	}
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
