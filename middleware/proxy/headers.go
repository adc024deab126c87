package proxy

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// rewrite is the ReverseProxy's hook, for the request that is going to be
// forwarded. Hop-by-hop fields are gone, those that Connection names too.
func (x *exchange) rewrite(pr *httputil.ProxyRequest) {
	in, out := pr.In, pr.Out
	// Byte for byte: ReverseProxy has parsed and re-encoded it.
	out.URL.RawQuery, out.URL.ForceQuery = in.URL.RawQuery, in.URL.ForceQuery
	restoreOurs(out.Header, in.Header)
	StripForwarding(out.Header)
	x.limitUpgrade(out.Header)
	x.setForwarded(out)
	appendVia(out.Header, in.ProtoMajor, in.ProtoMinor, &x.values.via)
	ensureTraceparent(out.Header, &x.values.traceparent)
	if x.route.RewriteHost {
		out.Host = "" // the URL's, which every attempt sets
	}
	if x.route.Rewrite != nil {
		x.route.Rewrite(pr)
	}
}

// limitUpgrade leaves WebSocket as the only protocol to upgrade to. Through
// others, h2c first of all, a client could send requests of its own to the
// server, past everything that the gateway is there for. A server may ignore
// an Upgrade (RFC 9110 section 7.8), so the request goes on without. HTTP/2
// has none.
func (x *exchange) limitUpgrade(h http.Header) {
	upgrade, ok := h["Upgrade"]
	if !ok {
		return
	}
	p := x.pool.cfg.Protocol
	if len(upgrade) != 1 || !strings.EqualFold(upgrade[0], "websocket") || p == HTTP2 || p == H2C {
		delete(h, "Upgrade")
		delete(h, "Connection")
	}
}

// restoreOurs puts back what a client had removed by naming it in Connection
// although it is not the client's: the gateway itself has set it.
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

// isHopByHop are the fields that concern one connection alone (RFC 9110 section
// 7.6.1), or that would, in interim responses and trailers, be about framing
// and routing (section 6.5.1).
func isHopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Proxy-Authenticate", "Proxy-Authorization", "Content-Length", "Host":
		return true
	}
	return false
}

func removeHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for name := range h {
		if isHopByHop(name) {
			delete(h, name)
		}
	}
}

// cleanTrailer removes from a trailer section what must not cross. Servers
// merge trailers into headers, so whatever may not be a header may not be a
// trailer either.
func (x *exchange) cleanTrailer(trailer http.Header) {
	if len(trailer) == 0 {
		return
	}
	removeHopByHop(trailer)
	StripForwarding(trailer)
	x.filter(trailer)
}

func (x *exchange) filter(h http.Header) {
	if x.route.Filter != nil && len(h) > 0 {
		x.route.Filter(h)
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

// StripConnection applies the Connection field of a request as it came in: the
// fields that it names are removed, and of the names only those stay that the
// forwarding needs (Upgrade, and TE's trailers). It is for the very front of
// the gateway: done as late as in the forwarding, sessions, limits and the
// cache would decide by fields that the server never gets to see.
func StripConnection(h http.Header) {
	lines, ok := h["Connection"]
	if !ok {
		return
	}
	upgrade := httpguts.HeaderValuesContainsToken(lines, "upgrade")
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			switch name = http.CanonicalHeaderKey(strings.TrimSpace(name)); name {
			case "", "Upgrade", "Te", "Connection", "Close", "Keep-Alive":
			default:
				delete(h, name)
			}
		}
	}
	if upgrade {
		h["Connection"] = []string{"Upgrade"}
	} else {
		delete(h, "Connection")
		delete(h, "Upgrade")
	}
}
