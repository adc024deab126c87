package proxy

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/headgate/headgate/internal/httpx"
)

// rewrite is ReverseProxy's hook that makes the outbound request. ReverseProxy
// has removed the hop-by-hop fields by then, and those that Connection names.
func (tx *transaction) rewrite(pr *httputil.ProxyRequest) {
	in, out := pr.In, pr.Out
	// The query byte for byte: ReverseProxy has parsed and re-encoded it.
	out.URL.RawQuery, out.URL.ForceQuery = in.URL.RawQuery, in.URL.ForceQuery
	restoreOurs(out.Header, in.Header)
	StripForwarding(out.Header)
	tx.limitUpgrade(out.Header)
	tx.setForwarded(out)
	appendVia(out.Header, in.ProtoMajor, in.ProtoMinor, &tx.values.via)
	ensureTraceparent(out.Header, &tx.values.traceparent)
	if tx.route.RewriteHost {
		out.Host = "" // every attempt sets its server's
	}
	if tx.route.Rewrite != nil {
		tx.route.Rewrite(pr)
	}
	tx.serversHost = tx.route.RewriteHost && pr.Out.Host == ""
}

// limitUpgrade leaves WebSocket as the only protocol to upgrade to. Through
// another, above all h2c, a client could send requests to the server that the
// gateway neither limits nor checks. A server may ignore an Upgrade (RFC 9110
// section 7.8), so the request is forwarded without it. HTTP/2 has no Upgrade.
func (tx *transaction) limitUpgrade(h http.Header) {
	upgrade, ok := h["Upgrade"]
	if !ok {
		return
	}
	p := tx.pool.cfg.Protocol
	if len(upgrade) != 1 || !strings.EqualFold(upgrade[0], "websocket") || p == HTTP2 || p == H2C {
		delete(h, "Upgrade")
		delete(h, "Connection")
	}
}

// restoreOurs restores the fields that the gateway has set and that ReverseProxy
// has removed because the client named them in Connection.
func restoreOurs(out, in http.Header) {
	if _, ok := in["Connection"]; !ok {
		return
	}
	for name, values := range in {
		if name == "X-Request-Id" || name == "Traceparent" || name == "Tracestate" || strings.HasPrefix(name, "Headgate-") {
			out[name] = values
		}
	}
}

// isHopByHop reports whether a field concerns one connection alone (RFC 9110
// section 7.6.1), or would change framing or routing in an interim response or
// a trailer (section 6.5.1).
func isHopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Proxy-Authenticate", "Proxy-Authorization", "Content-Length", "Host":
		return true
	}
	return false
}

func removeHopByHop(h http.Header) {
	for name := range httpx.Tokens(h["Connection"]) {
		h.Del(name)
	}
	for name := range h {
		if isHopByHop(name) {
			delete(h, name)
		}
	}
}

// cleanTrailer removes the fields from a trailer section that must not cross the
// gateway. Servers merge trailers into headers, so a field that is removed from
// headers is removed from trailers too.
func (tx *transaction) cleanTrailer(trailer http.Header) {
	if len(trailer) == 0 {
		return
	}
	removeHopByHop(trailer)
	StripForwarding(trailer)
	tx.filter(trailer)
}

func (tx *transaction) filter(h http.Header) {
	if tx.route.Filter != nil && len(h) > 0 {
		tx.route.Filter(h)
	}
}

const pseudonym = "headgate"

// appendVia adds the gateway to the Via chain (RFC 9110 section 7.6.3), with
// the version of the message that it received.
func appendVia(h http.Header, major, minor int, slot *[1]string) {
	var entry string
	switch {
	case major == 1 && minor == 1:
		entry = "1.1 " + pseudonym
	case major == 1 && minor == 0:
		entry = "1.0 " + pseudonym
	case minor == 0:
		entry = fmt.Sprintf("%d %s", major, pseudonym)
	default:
		entry = fmt.Sprintf("%d.%d %s", major, minor, pseudonym)
	}
	if prior := h["Via"]; len(prior) > 0 {
		entry = strings.Join(prior, ", ") + ", " + entry
	}
	slot[0] = entry
	h["Via"] = slot[:]
}

// StripConnection applies the Connection field of a request as it came in: it
// removes the fields that Connection names, but for Upgrade and TE, which
// forwarding needs. It belongs before all other middleware. If only forwarding
// did it, sessions, limits and the cache would decide by fields that the server
// is never sent.
func StripConnection(h http.Header) {
	lines, ok := h["Connection"]
	if !ok {
		return
	}
	upgrade := httpguts.HeaderValuesContainsToken(lines, "upgrade")
	for name := range httpx.Tokens(lines) {
		switch name = http.CanonicalHeaderKey(name); name {
		case "Upgrade", "Te", "Connection", "Close", "Keep-Alive":
		default:
			delete(h, name)
		}
	}
	if upgrade {
		h["Connection"] = []string{"Upgrade"}
	} else {
		delete(h, "Connection")
		delete(h, "Upgrade")
	}
}
