package proxy

import (
	"net/http"

	"golang.org/x/net/http/httpguts"

	"github.com/headgate/headgate/internal/httpx"
)

// StripConnection applies the Connection field of a request as it came in: it
// removes the fields that Connection names, but for Upgrade and TE, which
// forwarding needs, and for those of [mayName]. It belongs behind the middleware that
// finds the client's address, and before all other. If only forwarding did it,
// sessions, limits and the cache would decide by fields that the server is never sent.
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
			if mayName(name) {
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

// mayName reports whether Connection can remove a field, which RFC 9110 section 7.6.1 forbids for fields that are meant
// for all recipients. A client that names X-Forwarded-For, and a proxy that passes its Connection on, would make that
// proxy the client; without the Via of those before, a loop would go on. What a client writes in the forwarding fields
// goes no further all the same, see [StripForwarding].
func mayName(name string) bool {
	return name != "Via" && !IsForwarding(name)
}
