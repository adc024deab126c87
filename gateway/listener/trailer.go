package listener

import (
	"net/http"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/headgate/headgate/internal/httpx"
)

// trailerNames are the trailer fields that a handler has announced in Trailer.
type trailerNames []string

// announce notes the fields that these lines name.
func (t *trailerNames) announce(lines []string) {
	for name := range httpx.Tokens(lines) {
		if name = textproto.CanonicalMIMEHeaderKey(name); httpguts.ValidTrailerHeader(name) {
			*t = append(*t, name)
		}
	}
}

// expected reports whether the answer has, or may still get, a trailer section.
func (t trailerNames) expected(h http.Header) bool {
	if len(t) > 0 {
		return true
	}
	for name := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// section returns the trailer section: announced fields, and those that
// are marked as such by http.TrailerPrefix.
func (t trailerNames) section(h http.Header) http.Header {
	trailer := http.Header{}
	for _, name := range t {
		if values := h[name]; len(values) > 0 {
			trailer[name] = values
		}
	}
	for name, values := range h {
		if name, ok := strings.CutPrefix(name, http.TrailerPrefix); ok && httpguts.ValidTrailerHeader(name) {
			trailer[name] = append(trailer[name], values...)
		}
	}
	return trailer
}
