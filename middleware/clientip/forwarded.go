package clientip

import (
	"net/netip"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// Forwarded: for=client;proto=https, for="[2001:db8::1]:4711";by=_hidden (RFC 7239
// section 4).
var forwarded = headerFormat{
	name:       "Forwarded",
	maxElement: 1 << 10,
	lastComma:  lastCommaOutsideQuotes,
	address:    forwardedFor,
}

// lastCommaOutsideQuotes reads from the right, because the right end alone was written
// by someone who is trusted. From the left, a client's unfinished `for="` would swallow
// what the proxies appended. From the right that can't happen: if the last element is
// well-formed, then the first quote met closes a string, every quote inside it has a
// backslash before it, and the one that has none opens it.
func lastCommaOutsideQuotes(s string) int {
	quoted := false
	for i := len(s) - 1; i >= 0; i-- {
		switch {
		case s[i] == '"' && (!quoted || i == 0 || s[i-1] != '\\'):
			quoted = !quoted
		case s[i] == ',' && !quoted:
			return i
		}
	}
	return -1
}

// forwardedFor is the address in the element's "for" parameter. An element that breaks
// the grammar, or has not exactly one such parameter, names no address.
func forwardedFor(element string) (addr netip.Addr, ok bool) {
	found := false
	for rest := element; rest != ""; {
		var p parameter
		if p, rest, ok = cutParameter(rest); !ok {
			return netip.Addr{}, false
		}
		if !strings.EqualFold(p.name, "for") {
			continue
		}
		if found {
			return netip.Addr{}, false
		}
		found = true
		if addr, ok = parseNode(p.value()); !ok {
			return netip.Addr{}, false
		}
	}
	return addr, found
}

// parameter is one name=value of an element, or, with no name, an empty one.
type parameter struct {
	name, raw string // raw is the value as written, within the quotes if there are any
	quoted    bool
}

// cutParameter takes the first parameter and its semicolon off s.
func cutParameter(s string) (p parameter, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t")
	if s == "" || s[0] == ';' {
		return p, strings.TrimPrefix(s, ";"), true
	}
	if p.name, s, ok = strings.Cut(s, "="); !ok || !httpx.IsToken(p.name) {
		return p, "", false
	}
	if p.quoted = strings.HasPrefix(s, `"`); p.quoted {
		end := closingQuote(s)
		if end < 0 {
			return p, "", false
		}
		p.raw, s = s[1:end], s[end+1:]
	} else {
		// Many proxies write addresses with ports unquoted. RFC 7239 asks for quotes;
		// without them the meaning is as clear.
		end := strings.IndexAny(s, "; \t")
		if end < 0 {
			end = len(s)
		}
		if p.raw, s = s[:end], s[end:]; p.raw == "" || strings.ContainsAny(p.raw, `",=\`) {
			return p, "", false
		}
	}
	s = strings.TrimLeft(s, " \t")
	if s != "" && s[0] != ';' {
		return p, "", false
	}
	return p, strings.TrimPrefix(s, ";"), true
}

// closingQuote is the index of the quote that ends the string which begins s, or -1.
func closingQuote(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// value is the parameter's value with each quoted pair (`\x`) resolved.
func (p parameter) value() string {
	if !p.quoted || !strings.Contains(p.raw, `\`) {
		return p.raw
	}
	var b strings.Builder
	for i := 0; i < len(p.raw); i++ {
		if p.raw[i] == '\\' && i+1 < len(p.raw) {
			i++
		}
		b.WriteByte(p.raw[i])
	}
	return b.String()
}
