package http1

import (
	"net/http"
	"net/textproto"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// largeHead is where a value gets a copy of its own, so that keeping one value does not keep all of a large head.
const largeHead = 4 << 10

var errBareCR = malformed("a carriage return stands alone")

// cutLine cuts a head at the end of its first line. It is false where a carriage
// return is none.
func cutLine(s string) (line, rest string, ok bool) {
	i := strings.IndexByte(s, '\r')
	if i < 0 || i+1 == len(s) || s[i+1] != '\n' {
		return "", "", false
	}
	return s[:i], s[i+2:], true
}

// parseFields reads so many header lines, and notes what frames the body. Names of several lines keep their order.
// values is room for one value of each line; more is allocated where it does not suffice.
func (f *framingFields) parseFields(rest string, fields int, values []string) (http.Header, *Error) {
	h := make(http.Header, fields)
	large := len(rest) > largeHead
	if fields > len(values) {
		values = make([]string, fields)
	}
	for i := range fields {
		line, after, ok := cutLine(rest)
		if !ok {
			return nil, errBareCR
		}
		rest = after
		name, value, err := splitField(line)
		if err != nil {
			return nil, err
		}
		if err := f.see(name, value); err != nil {
			return nil, err
		}
		if large {
			value = strings.Clone(value)
		}
		key := textproto.CanonicalMIMEHeaderKey(name)
		if already := h[key]; already != nil {
			h[key] = append(already, value)
			continue
		}
		values[i] = value
		h[key] = values[i : i+1 : i+1]
	}
	return h, nil
}

// splitField takes a header line apart, RFC 9112 section 5.
func splitField(line string) (name, value string, err *Error) {
	if line != "" && (line[0] == ' ' || line[0] == '\t') {
		return "", "", malformed("a header line is folded")
	}
	colon := strings.IndexByte(line, ':')
	if colon < 0 {
		return "", "", malformed("a header line has no colon")
	}
	name, value = line[:colon], httpx.TrimOWS(line[colon+1:])
	if !httpx.IsToken(name) || !IsClean(value) {
		return name, value, malformed("a header line is malformed")
	}
	return name, value, nil
}

// AnnouncedTrailer takes Trailer out of the header of a message that may have a trailer section, and makes ready for the fields that are to come.
func AnnouncedTrailer(h http.Header) (http.Header, *Error) {
	lines, ok := h["Trailer"]
	if !ok {
		return nil, nil
	}
	delete(h, "Trailer")
	trailer := http.Header{}
	for name := range httpx.Tokens(lines) {
		if !TrailerAllowed(name) {
			return nil, malformed("Trailer announces a field that would change how the message is framed or routed")
		}
		trailer[textproto.CanonicalMIMEHeaderKey(name)] = nil
	}
	return trailer, nil
}

// TrailerAllowed reports whether a field may stand in a trailer: RFC 9110 section 6.5.1: a trailer must not have a say in
// framing or routing.
func TrailerAllowed(name string) bool {
	for _, forbidden := range []string{"transfer-encoding", "content-length", "host", "trailer"} {
		if resembles(name, forbidden) {
			return false
		}
	}
	return true
}

// PragmaMeansNoCache gives the old Pragma: no-cache the form that caches look for, RFC 9111 section 5.4.
func PragmaMeansNoCache(h http.Header) {
	if pragma := h["Pragma"]; len(pragma) > 0 && pragma[0] == "no-cache" && h["Cache-Control"] == nil {
		h["Cache-Control"] = []string{"no-cache"}
	}
}
