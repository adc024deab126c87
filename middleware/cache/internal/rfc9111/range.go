package rfc9111

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
)

// ByteRange is one satisfiable range of a stored body.
type ByteRange struct{ Start, Length int64 }

// RangeKind is how a Range is answered.
type RangeKind uint8

const (
	RangeIgnored       RangeKind = iota // with the whole: 200
	RangePartial                        // with a part: 206
	RangeUnsatisfiable                  // with 416
)

// ParseRange reads a Range field, RFC 9110 section 14.2, against a body of
// size bytes. A cache may ignore any Range; this one ignores other units than
// bytes, what does not parse, and several ranges at once: those cost a
// multipart answer, and are an old way to make a server work hard.
func ParseRange(value string, size int64) (ByteRange, RangeKind) {
	unit, spec, ok := strings.Cut(value, "=")
	if !ok || !strings.EqualFold(httpx.TrimOWS(unit), "bytes") || strings.ContainsRune(spec, ',') {
		return ByteRange{}, RangeIgnored
	}
	first, last, ok := strings.Cut(httpx.TrimOWS(spec), "-")
	if !ok {
		return ByteRange{}, RangeIgnored
	}
	if first == "" { // the last n bytes
		n, ok := rangeInt(last)
		if !ok {
			return ByteRange{}, RangeIgnored
		}
		if n == 0 || size == 0 {
			return ByteRange{}, RangeUnsatisfiable
		}
		n = min(n, size)
		return ByteRange{size - n, n}, RangePartial
	}
	start, ok := rangeInt(first)
	if !ok {
		return ByteRange{}, RangeIgnored
	}
	end := size - 1
	if last != "" {
		given, ok := rangeInt(last)
		if !ok || given < start {
			return ByteRange{}, RangeIgnored
		}
		end = min(end, given)
	}
	if start >= size {
		return ByteRange{}, RangeUnsatisfiable
	}
	return ByteRange{start, end - start + 1}, RangePartial
}

// rangeInt reads digits; a number that no size reaches is as good as the
// greatest one.
func rangeInt(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}

// IfRangeHolds evaluates If-Range, RFC 9110 section 13.1.5: the range is only
// meant if the client's validator is strong and still the stored one.
func (r *Response) IfRangeHolds(h http.Header, now time.Time) bool {
	lines := h["If-Range"]
	if len(lines) == 0 {
		return true
	}
	if len(lines) > 1 {
		return false
	}
	if value := lines[0]; strings.HasPrefix(value, `"`) || strings.HasPrefix(value, "W/") {
		return StrongETag(value) && value == r.ETag
	}
	date, ok := ParseDate(lines[0], now)
	// A Last-Modified is strong only if it is well before the Date (section 8.8.2.2).
	return ok && !r.LastModified.IsZero() && date.Equal(r.LastModified) && r.Date.Sub(r.LastModified) >= time.Second
}

// CompleteLength reads the size of the whole from a Content-Range, RFC 9110
// section 14.4.
func CompleteLength(contentRange string) (int64, bool) {
	_, size, ok := strings.Cut(contentRange, "/")
	if !ok {
		return 0, false
	}
	return rangeInt(size)
}
