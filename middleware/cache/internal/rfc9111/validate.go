package rfc9111

import (
	"net/http"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
)

// NotModified evaluates a request's If-None-Match and If-Modified-Since
// against a stored response, RFC 9111 section 4.3.2: true means 304. If-Match
// and If-Unmodified-Since are for origin servers alone and are not looked at.
func (r *Response) NotModified(h http.Header, now time.Time) bool {
	if lines := h["If-None-Match"]; len(lines) > 0 {
		return etagListed(lines, r.Header.Get("Etag")) // If-Modified-Since is then ignored
	}
	lines := h["If-Modified-Since"]
	if len(lines) != 1 {
		return false
	}
	since, ok := ParseDate(lines[0], now)
	if !ok {
		return false
	}
	modified := r.LastModified
	if modified.IsZero() {
		modified = r.Date
	}
	return !modified.After(since)
}

// etagListed compares weakly (RFC 9110 section 8.8.3.2) with a list of entity
// tags. Tags without quotes are no entity tags, but are sent; they match what
// was stored without quotes too.
func etagListed(lines []string, etag string) bool {
	opaque := strings.TrimPrefix(etag, "W/")
	for _, line := range lines {
		for line = httpx.TrimOWS(line); line != ""; {
			var candidate string
			candidate, line = nextETag(line)
			if candidate == "*" || (etag != "" && strings.TrimPrefix(candidate, "W/") == opaque) {
				return true
			}
		}
	}
	return false
}

// nextETag cuts the first entity tag off a list. A tag may hold commas and
// backslashes, which are not escapes (RFC 9110 section 8.8.3).
func nextETag(list string) (etag, rest string) {
	start := 0
	if strings.HasPrefix(list, "W/") {
		start = 2
	}
	end := start
	if start < len(list) && list[start] == '"' {
		if close := strings.IndexByte(list[start+1:], '"'); close >= 0 {
			end = start + close + 2
		}
	}
	comma := strings.IndexByte(list[end:], ',')
	if comma < 0 {
		return httpx.TrimOWS(list), ""
	}
	return httpx.TrimOWS(list[:end+comma]), strings.TrimLeft(list[end+comma+1:], " \t,")
}

// validETag reports whether s is one entity-tag that may be sent back to the
// origin in If-None-Match.
func validETag(s string) bool {
	s = strings.TrimPrefix(s, "W/")
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return false
	}
	for i := 1; i < len(s)-1; i++ {
		if c := s[i]; c == '"' || c < 0x21 || c == 0x7f {
			return false
		}
	}
	return true
}

// StrongETag reports whether an entity tag is a strong one (RFC 9110 section 8.8.1).
func StrongETag(s string) bool { return s != "" && !strings.HasPrefix(s, "W/") }

// Preconditions are the request fields that make an origin answer something
// else than the whole representation.
var Preconditions = [...]string{"If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range", "Range"}

// MakeConditional turns a request into one that validates a stored response,
// RFC 9111 section 4.3.1: with its entity tag, and its Last-Modified.
func MakeConditional(h http.Header, r *Response) {
	DropPreconditions(h)
	if r.ETag != "" {
		h["If-None-Match"] = []string{r.ETag}
	}
	if !r.LastModified.IsZero() {
		h["If-Modified-Since"] = []string{r.Header.Get("Last-Modified")}
	}
}

// DropPreconditions makes a request ask for the whole representation.
func DropPreconditions(h http.Header) {
	for _, name := range Preconditions {
		delete(h, name)
	}
}
