package cache

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// byteRange is one satisfiable range of a stored body.
type byteRange struct{ start, length int64 }

type rangeAnswer uint8

const (
	rangeIgnored       rangeAnswer = iota // answer with the whole: 200
	rangePartial                          // 206
	rangeUnsatisfiable                    // 416
)

// parseRange reads a Range field, RFC 9110 section 14.2, against a body of
// size bytes. A cache may ignore any Range; this one ignores other units than
// bytes, what does not parse, and several ranges at once: those cost a
// multipart answer, and are an old way to make a server work hard.
func parseRange(value string, size int64) (byteRange, rangeAnswer) {
	unit, spec, ok := strings.Cut(value, "=")
	if !ok || !strings.EqualFold(trimOWS(unit), "bytes") || strings.ContainsRune(spec, ',') {
		return byteRange{}, rangeIgnored
	}
	first, last, ok := strings.Cut(trimOWS(spec), "-")
	if !ok {
		return byteRange{}, rangeIgnored
	}
	if first == "" { // the last n bytes
		n, ok := rangeInt(last)
		if !ok {
			return byteRange{}, rangeIgnored
		}
		if n == 0 || size == 0 {
			return byteRange{}, rangeUnsatisfiable
		}
		n = min(n, size)
		return byteRange{size - n, n}, rangePartial
	}
	start, ok := rangeInt(first)
	if !ok {
		return byteRange{}, rangeIgnored
	}
	end := size - 1
	if last != "" {
		given, ok := rangeInt(last)
		if !ok || given < start {
			return byteRange{}, rangeIgnored
		}
		end = min(end, given)
	}
	if start >= size {
		return byteRange{}, rangeUnsatisfiable
	}
	return byteRange{start, end - start + 1}, rangePartial
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

// ifRangeHolds evaluates If-Range, RFC 9110 section 13.1.5: the range is only
// meant if the client's validator is strong and still the stored one.
func ifRangeHolds(e *entry, h http.Header, now time.Time) bool {
	lines := h["If-Range"]
	if len(lines) == 0 {
		return true
	}
	if len(lines) > 1 {
		return false
	}
	if value := lines[0]; strings.HasPrefix(value, `"`) || strings.HasPrefix(value, "W/") {
		return strongETag(value) && value == e.etag
	}
	date, ok := parseDate(lines[0], now)
	// A Last-Modified is strong only if it is well before the Date (section 8.8.2.2).
	return ok && !e.lastModified.IsZero() && date.Equal(e.lastModified) && e.date.Sub(e.lastModified) >= time.Second
}

// completeLength reads the size of the whole from a Content-Range, RFC 9110
// section 14.4.
func completeLength(contentRange string) (int64, bool) {
	_, size, ok := strings.Cut(contentRange, "/")
	if !ok {
		return 0, false
	}
	return rangeInt(size)
}

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }
