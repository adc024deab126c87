package session

import (
	"net/http"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// Reserved reports whether a header's name is one of ours in any spelling. What
// is neither letter nor digit counts as "-", because CGI, WSGI and others make
// no difference: headgate_user and HEADGATE.USER are Headgate-User to them.
func Reserved(name string) bool {
	const prefix = "headgate"
	if len(name) < len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) {
		return false
	}
	return len(name) == len(prefix) || !httpx.IsAlnum(name[len(prefix)])
}

// StripReserved removes the headers whose names are [Reserved], and such names
// from Connection and Trailer: a client that lists ours in Connection would have
// the app server's own front remove them. It serves requests, responses, interim
// (1xx) responses and trailers alike.
func StripReserved(h http.Header) { takeReserved(h) }

// takeReserved is StripReserved that returns the headers it has removed; nil for none.
func takeReserved(h http.Header) (taken http.Header) {
	for name, lines := range h {
		if !Reserved(name) {
			continue
		}
		if taken == nil {
			taken = http.Header{}
		}
		taken[name] = lines
		delete(h, name)
	}
	for _, name := range [...]string{"Connection", "Trailer"} {
		if lines, ok := h[name]; ok {
			stripTokens(h, name, lines)
		}
	}
	return taken
}

// stripTokens removes reserved names from a comma-separated header.
func stripTokens(h http.Header, name string, lines []string) {
	reserved := false
	for token := range httpx.Tokens(lines) {
		reserved = reserved || Reserved(token)
	}
	if !reserved {
		return
	}
	var kept []string
	for token := range httpx.Tokens(lines) {
		if !Reserved(token) {
			kept = append(kept, token)
		}
	}
	if len(kept) == 0 {
		delete(h, name)
		return
	}
	h[name] = []string{strings.Join(kept, ", ")}
}
