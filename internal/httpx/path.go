package httpx

import (
	"errors"
	"net/url"
	"strings"
)

// ErrBadPath is why a path is answered with 400.
var ErrBadPath = errors.New("bad path")

// NormalPath is a path in its one canonical form, as net/url keeps paths: with both
// set in a url.URL, EscapedPath returns RawPath, and so does what is forwarded.
type NormalPath struct {
	Path    string // decoded
	RawPath string // escaped: what is matched and forwarded
}

// RawPath returns the escaped path of a request's URL as the client sent it. EscapedPath would
// not do: it drops a RawPath that holds illegal octets, and with it the difference between / and %2F.
func RawPath(u *url.URL) string {
	if u.RawPath != "" {
		return u.RawPath
	}
	return u.EscapedPath()
}

// NormalizePath brings an escaped path into canonical form (RFC 3986 section 6.2.2): unreserved
// octets decoded, others' hex in upper case, illegal octets encoded, repeated slashes merged, dot
// segments removed. It refuses, with ErrBadPath, what some app server might read as another path than the
// one that was routed: %00, broken escapes, segments that would become dot segments if %2F, %5C or \ were taken
// for slashes, and segments that are dots or empty without their ;parameters. A path that is normal already costs no
// allocation beyond that of decoding what is escaped in it.
func NormalizePath(raw string) (NormalPath, error) {
	if raw == "" {
		return NormalPath{"/", "/"}, nil
	}
	if raw[0] != '/' {
		return NormalPath{}, ErrBadPath
	}
	if isPlainPath(raw) {
		return NormalPath{raw, raw}, nil
	}
	octets, err := normalizeOctets(raw, strict)
	if err != nil {
		return NormalPath{}, err
	}
	escaped, err := normalizeSegments(octets, strict)
	if err != nil {
		return NormalPath{}, err
	}
	if escaped == raw {
		escaped = raw
	}
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return NormalPath{}, ErrBadPath
	}
	return NormalPath{path, escaped}, nil
}

// ComparablePath returns the normal form of an escaped path, also of one that [NormalizePath] refuses: for telling
// whether two URLs mean the same path, as a purge must, and not for forwarding. A percent sign without two hex
// digits stands for itself.
func ComparablePath(raw string) string {
	if raw == "" || raw[0] != '/' {
		raw = "/" + raw
	}
	if isPlainPath(raw) {
		return raw
	}
	octets, _ := normalizeOctets(raw, lenient)
	path, _ := normalizeSegments(octets, lenient)
	return path
}

// strictness says what becomes of what servers may read in two ways.
type strictness bool

const (
	strict  strictness = true  // it is refused
	lenient strictness = false // it is kept
)

// isPlainPath reports whether a path has nothing to normalise: legal octets, none escaped, no empty segment, and
// none that begins with a dot or with parameters.
func isPlainPath(s string) bool {
	var before byte
	for i := range len(s) {
		c := s[i]
		if !pathOctet[c] || before == '/' && (c == '/' || c == '.' || c == ';') {
			return false
		}
		before = c
	}
	return true
}

// pathOctet marks the octets that may stand in a path as they are: pchar of RFC 3986 section 3.3 and the slash.
var pathOctet = octets("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/")

// unreserved marks the octets that mean the same whether escaped or not (RFC 3986 section 2.3).
var unreserved = octets("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

func octets(s string) (set [256]bool) {
	for _, c := range []byte(s) {
		set[c] = true
	}
	return set
}

// normalizeOctets decodes what need not be escaped and escapes what must be.
func normalizeOctets(s string, how strictness) (string, error) {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s) + 8)
	for i := 0; i < len(s); i++ {
		c, escaped := s[i], false
		if c == '%' {
			octet, ok := unescape(s[i+1:])
			if ok {
				c, escaped = octet, true
				i += 2
			} else if how == strict {
				return "", ErrBadPath
			}
		}
		switch {
		case c == 0 && how == strict:
			return "", ErrBadPath
		case unreserved[c] || !escaped && pathOctet[c]:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String(), nil
}

// unescape reads the two hex digits of an escape.
func unescape(s string) (octet byte, ok bool) {
	if len(s) < 2 {
		return 0, false
	}
	high, ok1 := Unhex(s[0])
	low, ok2 := Unhex(s[1])
	return high<<4 | low, ok1 && ok2
}

// normalizeSegments merges slashes and removes dot segments.
func normalizeSegments(s string, how strictness) (string, error) {
	out := make([]byte, 0, len(s))
	slash := false // whether the path so far ends in a slash
	for rest := s[1:]; ; {
		segment, more, found := strings.Cut(rest, "/")
		switch segment {
		case "", ".":
			slash = true
		case "..":
			slash = true
			for n := len(out); n > 0; {
				n--
				c := out[n]
				out = out[:n]
				if c == '/' {
					break
				}
			}
		default:
			if how == strict && hidesSegment(segment) {
				return "", ErrBadPath
			}
			slash = false
			out = append(out, '/')
			out = append(out, segment...)
		}
		if !found {
			break
		}
		rest = more
	}
	if slash || len(out) == 0 {
		out = append(out, '/')
	}
	return string(out), nil
}

// hidesSegment reports whether a segment would hold a dot segment, or an empty one, for a server that decodes %2F or
// %5C before it splits the path, takes a backslash for a slash, or cuts off parameters (/..;x=1/, /;x=1/).
func hidesSegment(segment string) bool {
	for segment != "" {
		part, rest := cutHidden(segment, "%2F", "%5C")
		name := SegmentName(part)
		if name == "." || name == ".." || name == "" && part != "" {
			return true
		}
		segment = rest
	}
	return false
}

// SegmentName returns a segment of a normal path without its ;parameters (RFC 3986 section 3.3). An escaped semicolon
// begins them as well: app servers that decode the path before they split it see no difference.
func SegmentName(segment string) string {
	for i := range len(segment) {
		if c := segment[i]; c == ';' || c == '%' && strings.HasPrefix(segment[i:], "%3B") {
			return segment[:i]
		}
	}
	return segment
}

// HasEncodedSlash reports whether a normal path holds a slash or a backslash that does not separate segments for the
// gateway, but for app servers that decode the path before they split it.
func HasEncodedSlash(path string) bool {
	return strings.IndexByte(path, '%') >= 0 && (strings.Contains(path, "%2F") || strings.Contains(path, "%5C"))
}

// cutHidden cuts s around whichever of two separators comes first.
func cutHidden(s, a, b string) (before, after string) {
	x, y := strings.Index(s, a), strings.Index(s, b)
	if x < 0 || y >= 0 && y < x {
		x, a = y, b
	}
	if x < 0 {
		return s, ""
	}
	return s[:x], s[x+len(a):]
}
