package listener

import (
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"

	"github.com/headgate/headgate/internal/http1"
	"github.com/headgate/headgate/internal/httpx"
)

// Header sections of answers in HPACK (RFC 7541), without its dynamic table: what most answers have in common is
// short, and a table costs memory and time on every connection. nginx does the same. So a section depends on none
// before it, and can be made by each handler's own goroutine.

// noTable is put before a connection's first section: it sets the size of the dynamic table to 0, whatever the client
// allows (RFC 7541 section 6.3).
const noTable = 0x20

// tableNames are the names in HPACK's static table (RFC 7541 appendix A) that answers have.
var tableNames = map[string]tableName{
	"Accept-Ranges":               {"accept-ranges", 18},
	"Access-Control-Allow-Origin": {"access-control-allow-origin", 20},
	"Age":                         {"age", 21},
	"Allow":                       {"allow", 22},
	"Cache-Control":               {"cache-control", 24},
	"Content-Disposition":         {"content-disposition", 25},
	"Content-Encoding":            {"content-encoding", 26},
	"Content-Language":            {"content-language", 27},
	"Content-Location":            {"content-location", 29},
	"Content-Range":               {"content-range", 30},
	"Content-Type":                {"content-type", 31},
	"Date":                        {"date", 33},
	"Etag":                        {"etag", 34},
	"Expires":                     {"expires", 36},
	"Last-Modified":               {"last-modified", 44},
	"Link":                        {"link", 45},
	"Location":                    {"location", 46},
	"Proxy-Authenticate":          {"proxy-authenticate", 48},
	"Refresh":                     {"refresh", 52},
	"Retry-After":                 {"retry-after", 53},
	"Server":                      {"server", 54},
	"Set-Cookie":                  {"set-cookie", 55},
	"Strict-Transport-Security":   {"strict-transport-security", 56},
	"Vary":                        {"vary", 59},
	"Via":                         {"via", 60},
	"Www-Authenticate":            {"www-authenticate", 61},

	// These are not in it, but common: their lower case need not be made each time.
	"Cache-Status":            {"cache-status", 0},
	"Content-Security-Policy": {"content-security-policy", 0},
	"Grpc-Message":            {"grpc-message", 0},
	"Grpc-Status":             {"grpc-status", 0},
	"Ratelimit":               {"ratelimit", 0},
	"Ratelimit-Policy":        {"ratelimit-policy", 0},
	"Referrer-Policy":         {"referrer-policy", 0},
	"Trailer":                 {"trailer", 0},
	"X-Content-Type-Options":  {"x-content-type-options", 0},
	"X-Frame-Options":         {"x-frame-options", 0},
	"X-Powered-By":            {"x-powered-by", 0},
	"X-Request-Id":            {"x-request-id", 0},
}

type tableName struct {
	lower string
	index byte // 0: it is not in the static table
}

const (
	statusIndex        = 8 // of :status 200, the first with that name
	contentLengthIndex = 28
)

// appendStatus appends the :status.
func appendStatus(b []byte, status int) []byte {
	for i, known := range [...]int{200, 204, 206, 304, 400, 404, 500} {
		if status == known {
			return append(b, 0x80|byte(statusIndex+i))
		}
	}
	return append(b, statusIndex, 3, byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10))
}

// appendContentLength appends the length of a body.
func appendContentLength(b []byte, n int64) []byte {
	var digits [20]byte
	text := strconv.AppendInt(digits[:0], n, 10)
	b = append(b, 0x0f, contentLengthIndex-0x0f, byte(len(text)))
	return append(b, text...)
}

// appendHeader appends the fields of a section, as http1.AppendFields does for HTTP/1: without those that are the
// connection's (RFC 9113 section 8.2.2), and Content-Length, which the caller knows better.
func appendHeader(b []byte, h http.Header) []byte {
	for name, values := range h {
		switch name {
		case "Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade":
			continue
		}
		known, ok := tableNames[name]
		if !ok {
			if !httpx.IsToken(name) {
				continue
			}
			known.lower = strings.ToLower(name)
		}
		for _, v := range values {
			b = known.append(b, http1.CleanValue(v))
		}
	}
	return b
}

// append appends a field as a literal that is not indexed, RFC 7541 section 6.2.2.
func (n tableName) append(b []byte, value string) []byte {
	switch {
	case n.index == 0:
		b = appendString(append(b, 0), n.lower)
	case n.index < 0x0f:
		b = append(b, n.index)
	default:
		b = append(b, 0x0f, n.index-0x0f)
	}
	return appendString(b, value)
}

// appendString appends a string, RFC 7541 section 5.2, in Huffman's code where that is shorter.
func appendString(b []byte, s string) []byte {
	const huffman = 0x80
	if n := hpack.HuffmanEncodeLength(s); n < uint64(len(s)) {
		return hpack.AppendHuffmanString(appendLength(b, huffman, int(n)), s)
	}
	return append(appendLength(b, 0, len(s)), s...)
}

// appendLength appends a string's length as an integer of a seven-bit prefix, RFC 7541 section 5.1.
func appendLength(b []byte, flag byte, n int) []byte {
	const most = 0x7f
	if n < most {
		return append(b, flag|byte(n))
	}
	b = append(b, flag|most)
	for n -= most; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}
