package httpx

import (
	"net/http"
	"strings"
)

// IsBrowser reports whether a person is about to see the answer as a page: a browser navigates (Sec-Fetch-Mode: navigate),
// or, where the client sends no Sec-Fetch fields, Accept names text/html and prefers nothing to it. The method does not
// matter: a form's POST navigates, too. A script's fetch is no browser, whatever it accepts.
func IsBrowser(h http.Header) bool {
	for _, name := range [...]string{"Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-Dest", "Sec-Fetch-User"} {
		if len(h[name]) > 0 {
			return h.Get("Sec-Fetch-Mode") == "navigate"
		}
	}
	var html, best Quality
	for member := range Members(h["Accept"]) {
		media, q, ok := Weighted(member)
		if !ok {
			continue
		}
		best = max(best, q)
		if strings.EqualFold(media, "text/html") {
			html = max(html, q)
		}
	}
	return html > 0 && html == best
}

// IsPrefetch reports whether a browser fetches ahead of its user, who may never come: a prefetch, a prerendering or a
// preview. Sec-Purpose is the Fetch standard's name for it; the others are those of older browsers.
func IsPrefetch(h http.Header) bool {
	for _, name := range [...]string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		for member := range Members(h[name]) {
			purpose, _, _ := strings.Cut(member, ";")
			if purpose = strings.TrimSpace(purpose); strings.EqualFold(purpose, "prefetch") || strings.EqualFold(purpose, "preview") {
				return true
			}
		}
	}
	return false
}

// PreflightFor returns the method that a CORS preflight asks permission for, "" where a request is none: OPTIONS with
// one Origin and one Access-Control-Request-Method (Fetch standard, section 3.3.2). A browser never sends two of them.
func PreflightFor(method string, h http.Header) string {
	if method != http.MethodOptions {
		return ""
	}
	origin, asked := h["Origin"], h["Access-Control-Request-Method"]
	if len(origin) != 1 || origin[0] == "" || len(asked) != 1 {
		return ""
	}
	return asked[0]
}
