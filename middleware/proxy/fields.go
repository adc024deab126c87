package proxy

import (
	"net/http"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// addedFields is how many fields rewrite adds to most requests.
const addedFields = 6

// forwardable returns a copy of a request's header without what concerns the client's connection alone, and what only the proxy may say.
func forwardable(in http.Header) http.Header {
	out := make(http.Header, len(in)+addedFields)
	values := make([]string, 0, len(in)+2)
	for name, lines := range in {
		if httpx.IsHopByHop(name) || IsForwarding(name) {
			continue
		}
		start := len(values)
		values = append(values, lines...)
		out[name] = values[start:len(values):len(values)]
	}
	for name := range httpx.Tokens(in["Connection"]) {
		if name = http.CanonicalHeaderKey(name); mayName(name) && !isOurs(name) {
			delete(out, name)
		}
	}
	return out
}

// isOurs reports whether the gateway has set the field on the request, so that the client's Connection is not about it.
func isOurs(name string) bool {
	return name == "X-Request-Id" || name == "Traceparent" || name == "Tracestate" || strings.HasPrefix(name, "Headgate-")
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
	httpx.RemoveHopByHop(trailer)
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
