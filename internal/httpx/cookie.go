package httpx

import (
	"iter"
	"net/http"
	"strings"
)

// CookieValues yields the values of all cookies of a name in Cookie lines, without the quotes around them.
func CookieValues(lines []string, name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range lines {
			for part := range strings.SplitSeq(line, ";") {
				key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
				if strings.TrimSpace(key) != name {
					continue
				}
				value = strings.TrimSpace(value)
				if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
					value = value[1 : len(value)-1]
				}
				if !yield(value) {
					return
				}
			}
		}
	}
}

// CutCookie removes the cookies of a name, and no others, from a request's Cookie lines.
func CutCookie(h http.Header, name string) {
	lines := h["Cookie"]
	if len(lines) == 0 {
		return
	}
	kept := make([]string, 0, len(lines))
	changed := false
	for _, line := range lines {
		rest, cut := cutCookieLine(line, name)
		changed = changed || cut
		if rest != "" || !cut {
			kept = append(kept, rest)
		}
	}
	switch {
	case !changed:
	case len(kept) == 0:
		delete(h, "Cookie")
	default:
		h["Cookie"] = kept
	}
}

// cutCookieLine leaves the other cookies of a line byte for byte as they were.
func cutCookieLine(line, name string) (rest string, changed bool) {
	if !strings.Contains(line, name) {
		return line, false
	}
	var kept []string
	for part := range strings.SplitSeq(line, ";") {
		key, _, _ := strings.Cut(part, "=")
		if strings.TrimSpace(key) == name {
			changed = true
			continue
		}
		kept = append(kept, part)
	}
	if !changed {
		return line, false
	}
	return strings.TrimSpace(strings.Join(kept, ";")), true
}

// CutSetCookie removes the Set-Cookie lines of a name, and no others, from a response's header.
func CutSetCookie(h http.Header, name string) {
	lines := h["Set-Cookie"]
	kept := lines[:0]
	for _, line := range lines {
		key, _, _ := strings.Cut(line, "=")
		if strings.TrimSpace(key) != name {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		delete(h, "Set-Cookie")
		return
	}
	h["Set-Cookie"] = kept
}

// MarkPrivate says of a response that it is for one client, so that no shared cache stores it,
// unless Cache-Control or Cdn-Cache-Control (RFC 9213) says already who may: public, private or no-store.
func MarkPrivate(h http.Header) {
	cdn := h["Cdn-Cache-Control"]
	if saysWhoMayStore(h["Cache-Control"]) || saysWhoMayStore(cdn) {
		return
	}
	addPrivate(h, "Cache-Control")
	if len(cdn) > 0 {
		addPrivate(h, "Cdn-Cache-Control")
	}
	h.Del("Surrogate-Control") // which has no such word, and goes before Cache-Control in a CDN
}

// saysWhoMayStore looks for public, no-store, or private without field names.
func saysWhoMayStore(lines []string) bool {
	for directive := range Members(lines) {
		if EqualFold(directive, "public") || EqualFold(directive, "private") || EqualFold(directive, "no-store") {
			return true
		}
	}
	return false
}

// addPrivate puts the directive first: behind a quote that does not end it would not be read.
func addPrivate(h http.Header, name string) {
	lines := []string{"private"}
	for i, line := range h[name] {
		if i == 0 && line != "" {
			lines[0] += ", " + line
		} else if i > 0 {
			lines = append(lines, line)
		}
	}
	h[name] = lines
}

// KeepPrivate keeps a response out of every cache, whatever the app said:
// Cdn-Cache-Control (RFC 9213) and Surrogate-Control would go before
// Cache-Control in a CDN.
func KeepPrivate(h http.Header) {
	h.Del("Cdn-Cache-Control")
	h.Del("Surrogate-Control")
	h.Del("Expires")
	h.Set("Cache-Control", "private, no-store")
}
