package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/headgate/headgate/internal/httpx"
)

// rewrite makes the request that goes to a server.
func (tx *transaction) rewrite() *Error {
	in, out := tx.in, &tx.request
	*out, tx.url = *in, *in.URL
	tx.out, out.URL, out.Close = out, &tx.url, false
	if in.ContentLength == 0 {
		out.Body, out.Trailer = nil, nil
	}
	upgrade := upgradeType(in.Header)
	if !isPrintable(upgrade) {
		return tx.newError(KindBadRequest, http.StatusBadRequest, fmt.Errorf("the protocol %q to switch to is malformed", upgrade))
	}
	out.Header = forwardable(in.Header)
	if httpguts.HeaderValuesContainsToken(in.Header["Te"], "trailers") {
		out.Header["Te"] = teTrailers
	}
	if upgrade != "" && tx.maySwitchTo(upgrade) {
		out.Header["Connection"], out.Header["Upgrade"] = connectionUpgrade, []string{upgrade}
	}
	restoreOurs(out.Header, in.Header)
	appendVia(out.Header, in.ProtoMajor, in.ProtoMinor, &tx.values.via)
	tx.setForwarded(out)
	ensureTraceparent(out.Header, &tx.values.traceparent)
	if tx.route.RewriteHost {
		out.Host = "" // every attempt sets its server's
	}
	if tx.route.Rewrite != nil {
		pr := &httputil.ProxyRequest{In: in, Out: out}
		tx.route.Rewrite(pr)
		tx.out = pr.Out
	}
	tx.serversHost = tx.route.RewriteHost && tx.out.Host == ""
	return nil
}

// addedFields is how many fields rewrite adds to most requests.
const addedFields = 6

// forwardable returns a copy of a request's header without what concerns the client's connection alone, and what only the proxy may say.
func forwardable(in http.Header) http.Header {
	out := make(http.Header, len(in)+addedFields)
	values := make([]string, 0, len(in)+2)
	for name, lines := range in {
		if isHopByHop(name) || isForwarding(name) {
			continue
		}
		start := len(values)
		values = append(values, lines...)
		out[name] = values[start:len(values):len(values)]
	}
	for name := range httpx.Tokens(in["Connection"]) {
		out.Del(name)
	}
	return out
}

// Values of fields that are the same for every request. They are not written to.
var (
	teTrailers        = []string{"trailers"}
	connectionUpgrade = []string{"Upgrade"}
)

// upgradeType is the protocol that a header asks or agrees to switch to, or empty.
func upgradeType(h http.Header) string {
	if !httpguts.HeaderValuesContainsToken(h["Connection"], "upgrade") {
		return ""
	}
	return h.Get("Upgrade")
}

func isPrintable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// maySwitchTo leaves WebSocket as the only protocol to upgrade to. Through
// another, above all h2c, a client could send requests to the server that the
// gateway neither limits nor checks. A server may ignore an Upgrade (RFC 9110
// section 7.8), so the request is forwarded without it. HTTP/2 has no Upgrade.
func (tx *transaction) maySwitchTo(protocol string) bool {
	p := tx.pool.cfg.Protocol
	return strings.EqualFold(protocol, "websocket") && len(tx.in.Header["Upgrade"]) == 1 && p != HTTP2 && p != H2C
}

// restoreOurs restores the fields that the gateway has set, and that are
// gone because the client named them in Connection.
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
// section 7.6.1).
func isHopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Proxy-Authenticate", "Proxy-Authorization":
		return true
	}
	return false
}

func removeHopByHop(h http.Header) {
	if lines, ok := h["Connection"]; ok {
		for name := range httpx.Tokens(lines) {
			h.Del(name)
		}
	}
	for name := range h {
		if isHopByHop(name) {
			delete(h, name)
		}
	}
}

// decides reports whether a field would change, where it stands in a trailer, how the message is framed, routed,
// authenticated, stored or rendered: what has been decided by then (RFC 9110 section 6.5.1).
func decides(name string) bool {
	switch name {
	case "Content-Length", "Host",
		"Set-Cookie", "Cookie", "Authorization", "Www-Authenticate", "Authentication-Info",
		"Age", "Cache-Control", "Cdn-Cache-Control", "Expires", "Date", "Location", "Retry-After", "Vary", "Warning", "Pragma", "Cache-Groups",
		"Content-Encoding", "Content-Type", "Content-Range", "Expect", "Max-Forwards", "Range":
		return true
	}
	return strings.HasPrefix(name, "If-")
}

// cleanTrailer removes the fields from a trailer section that must not cross the
// gateway. Servers merge trailers into headers, so a field that is removed from
// headers is removed from trailers too.
func (tx *transaction) cleanTrailer(trailer http.Header) {
	if len(trailer) == 0 {
		return
	}
	removeHopByHop(trailer)
	for name := range trailer {
		if decides(name) {
			delete(trailer, name)
		}
	}
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

// modifyResponse makes the header of a response what crosses the gateway, and has the route's hook change or refuse the response.
func (tx *transaction) modifyResponse(res *http.Response) *Error {
	appendVia(res.Header, res.ProtoMajor, res.ProtoMinor, &tx.values.viaBack)
	modify := tx.route.ModifyResponse
	if modify == nil {
		return nil
	}
	err := modify(res)
	if err == nil {
		return nil
	}
	tx.current.kind = KindRefused
	var failure *Error
	if errors.As(err, &failure) {
		refusal := *failure
		refusal.Kind, refusal.Upstream, refusal.Server = KindRefused, tx.up.name, tx.current.server.name
		return &refusal
	}
	return tx.newError(KindRefused, http.StatusBadGateway, err)
}
