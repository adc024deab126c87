package policies

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// ErrBadPath is why a path is answered with 400.
var ErrBadPath = errors.New("bad path")

// ErrBadHost is why a host is answered with 400.
var ErrBadHost = errors.New("bad host")

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
// one that was routed: %00, broken escapes, and segments that would become dot segments if %2F, %5C or \ were taken
// for slashes, or ; for the start of parameters. A path that is normal already costs no allocation
// beyond that of decoding what is escaped in it.
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
	octets, err := normalizeOctets(raw)
	if err != nil {
		return NormalPath{}, err
	}
	escaped, err := normalizeSegments(octets)
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

// isPlainPath reports whether a path has nothing to normalise: legal octets, none escaped, no empty segment, and
// none that begins with a dot.
func isPlainPath(s string) bool {
	var before byte
	for i := range len(s) {
		c := s[i]
		if !pathOctet[c] || before == '/' && (c == '/' || c == '.') {
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
func normalizeOctets(s string) (string, error) {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s) + 8)
	for i := 0; i < len(s); i++ {
		c, escaped := s[i], false
		if c == '%' {
			if i+2 >= len(s) {
				return "", ErrBadPath
			}
			high, ok1 := unhex(s[i+1])
			low, ok2 := unhex(s[i+2])
			if !ok1 || !ok2 {
				return "", ErrBadPath
			}
			c, escaped = high<<4|low, true
			i += 2
		}
		switch {
		case c == 0:
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

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// normalizeSegments merges slashes and removes dot segments.
func normalizeSegments(s string) (string, error) {
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
			if hidesDots(segment) {
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

// hidesDots reports whether a segment would hold a dot segment for a server that decodes %2F or
// %5C before it splits the path, takes a backslash for a slash, or cuts off parameters (/..;x=1/).
func hidesDots(segment string) bool {
	if !strings.Contains(segment, ".") {
		return false
	}
	for segment != "" {
		part, rest := cutHidden(segment, "%2F", "%5C")
		if part, _ = cutHidden(part, ";", "%3B"); part == "." || part == ".." {
			return true
		}
		segment = rest
	}
	return false
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

// NormalHost is a host in its canonical form.
type NormalHost struct {
	Name      string // lower case, without port: what routes are matched by
	Authority string // with the port where it is not the scheme's own: what cache, CSRF check and app server see
}

// NormalizeHost brings a Host header (or :authority) into canonical form: lower case, no trailing
// dot, no port that the scheme ("http" or "https") implies. Names are otherwise left as they are: internationalised ones
// come as xn--. An empty host is legal, and matches routes for any host alone. ErrBadHost is
// returned for what is not a host name or IP address with an optional port.
func NormalizeHost(raw, scheme string) (NormalHost, error) {
	if raw == "" {
		return NormalHost{}, nil
	}
	name, port := raw, ""
	if raw[0] == '[' {
		inside, after, closed := strings.Cut(raw[1:], "]")
		addr, err := netip.ParseAddr(inside)
		if !closed || err != nil || !addr.Is6() || addr.Zone() != "" || after != "" && after[0] != ':' {
			return NormalHost{}, ErrBadHost
		}
		if canonical := addr.String(); canonical == inside {
			name = raw[:len(inside)+2]
		} else {
			name = "[" + canonical + "]"
		}
		port = strings.TrimPrefix(after, ":")
	} else {
		if i := strings.IndexByte(raw, ':'); i >= 0 {
			name, port = raw[:i], raw[i+1:]
		}
		name = strings.TrimSuffix(name, ".")
		if !validHostName(name) {
			return NormalHost{}, ErrBadHost
		}
		name = strings.ToLower(name)
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || !isDigits(port) {
			return NormalHost{}, ErrBadHost
		}
		if !(n == 80 && scheme == "http" || n == 443 && scheme == "https") {
			port = strings.TrimLeft(port, "0")
			if len(name)+1+len(port) == len(raw) && strings.HasPrefix(raw, name) {
				return NormalHost{name, raw}, nil // nothing was changed
			}
			return NormalHost{name, name + ":" + port}, nil
		}
	}
	return NormalHost{name, name}, nil
}

// validHostName reports whether s is labels of letters, digits, - and _ with dots between them.
func validHostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	before := byte('.')
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '.':
			if before == '.' {
				return false
			}
		case c|0x20 >= 'a' && c|0x20 <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
		before = c
	}
	return before != '.'
}
