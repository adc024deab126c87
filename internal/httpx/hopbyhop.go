package httpx

import "net/http"

// IsHopByHop reports whether a field, in its canonical form, concerns one connection alone (RFC 9110
// section 7.6.1).
func IsHopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Proxy-Authenticate", "Proxy-Authorization":
		return true
	}
	return false
}

// RemoveHopByHop removes the fields that concern one connection alone, and those that Connection names.
func RemoveHopByHop(h http.Header) {
	if lines, ok := h["Connection"]; ok {
		for name := range Tokens(lines) {
			h.Del(name)
		}
	}
	for name := range h {
		if IsHopByHop(name) {
			delete(h, name)
		}
	}
}
