package proxy

import (
	"net/http"

	"golang.org/x/net/http/httpguts"

	"github.com/headgate/headgate/internal/httpx"
)

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
