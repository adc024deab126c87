package clientip

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// Told is what a trusted proxy says of a request besides the client's address. A field is
// empty where the proxy says nothing that can be used.
type Told struct {
	Scheme string // that the client used: http or https
	Host   string // that it asked for, perhaps with a port; not checked
	Port   string // that it connected to: 1 to 65535
}

// Told is what the peer says of the request: nothing, unless it is a trusted proxy. It is
// read from X-Forwarded-Proto, -Host and -Port, or, where Options.Header is Forwarded,
// from that alone. Only the last value of the last line counts, which the peer has
// written; those before it may be the client's.
func (res *Resolver) Told(peer netip.Addr, h http.Header) (t Told) {
	if !res.trusts(peer) {
		return Told{}
	}
	if res.header.name == forwarded.name {
		return toldByForwarded(lastValue(h[forwarded.name], lastCommaOutsideQuotes))
	}
	t.Scheme = schemeOf(lastValue(h["X-Forwarded-Proto"], xForwardedFor.lastComma))
	t.Host = lastValue(h["X-Forwarded-Host"], xForwardedFor.lastComma)
	if port := lastValue(h["X-Forwarded-Port"], xForwardedFor.lastComma); port != "" && httpx.ValidPort(port) {
		t.Port = port
	}
	return t
}

// Trusts reports whether the peer is a trusted proxy.
func (res *Resolver) Trusts(peer netip.Addr) bool { return res.trusts(peer) }

// Unheeded returns the header in which a peer that is no trusted proxy names another
// client than itself; "" where there is none. Such a peer may be a proxy that was
// forgotten, whose clients then share one limit.
func (res *Resolver) Unheeded(peer netip.Addr, h http.Header) string {
	for _, name := range [...]string{xForwardedFor.name, forwarded.name, res.header.name} {
		if len(h[name]) > 0 && !res.trusts(peer) {
			return name
		}
	}
	return ""
}

// lastValue returns the last element of the last line.
func lastValue(lines []string, lastComma func(string) int) string {
	if len(lines) == 0 {
		return ""
	}
	line := lines[len(lines)-1]
	return trimSpace(line[lastComma(line)+1:])
}

// toldByForwarded reads the parameters proto and host. An element that breaks the grammar,
// or has one of them twice, says nothing.
func toldByForwarded(element string) (t Told) {
	for rest := element; rest != ""; {
		var p parameter
		var ok bool
		if p, rest, ok = cutParameter(rest); !ok {
			return Told{}
		}
		switch strings.ToLower(p.name) {
		case "proto":
			if t.Scheme != "" {
				return Told{}
			}
			t.Scheme = schemeOf(p.value())
		case "host":
			if t.Host != "" {
				return Told{}
			}
			t.Host = p.value()
		}
	}
	return t
}

// schemeOf returns http or https. Some proxies write a WebSocket's own schemes.
func schemeOf(proto string) string {
	switch strings.ToLower(proto) {
	case "http", "ws":
		return "http"
	case "https", "wss":
		return "https"
	}
	return ""
}
