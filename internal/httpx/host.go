package httpx

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// ErrBadHost is why a host is answered with 400.
var ErrBadHost = errors.New("bad host")

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
		if !isRegName(name) {
			return NormalHost{}, ErrBadHost
		}
		name = strings.ToLower(name)
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16) // of digits alone: it takes no sign
		if err != nil || n == 0 {
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

// isRegName reports whether s is labels with dots between them, of what RFC 3986 section 3.2.2 allows in a name: that
// is more than names in DNS have. An encoded octet is not taken, as it is another spelling; nor is a comma, which is
// what some make of two Host lines.
func isRegName(s string) bool {
	return validLabels(s, func(c byte) bool { return isHostByte(c) || strings.IndexByte("~!$&'()*+;=", c) >= 0 })
}

// ValidHostName reports whether s is labels of letters, digits, - and _ with dots between them.
func ValidHostName(s string) bool { return validLabels(s, isHostByte) }

func isHostByte(c byte) bool { return IsAlnum(c) || c == '-' || c == '_' }

func validLabels(s string, valid func(byte) bool) bool {
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
		case !valid(c):
			return false
		}
		before = c
	}
	return before != '.'
}

// HostName returns the name of a host in its canonical form, without the port; "" for what is
// not a host, so that a client gains nothing by varying one that no route has.
func HostName(raw string) string {
	host, err := NormalizeHost(raw, "")
	if err != nil {
		return ""
	}
	return host.Name
}

// IsLoopback reports whether a host name, without a port, is one that a machine calls itself by: localhost, a
// name below it, or a loopback address. Browsers trust these without TLS.
func IsLoopback(name string) bool {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && addr.Unmap().IsLoopback()
}

// ValidPort reports whether a URL's port is one from 1 to 65535, or left out.
func ValidPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

// NormalizeOrigin returns an origin as browsers write it in the Origin field (RFC 6454 section 6.2): scheme and host in
// lower case, without the scheme's own port. ok is false for what is not scheme://host[:port].
func NormalizeOrigin(raw string) (normal string, ok bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Opaque != "" || !EqualFold(u.Scheme+"://"+u.Host, raw) {
		return "", false
	}
	host, err := NormalizeHost(u.Host, u.Scheme)
	if err != nil {
		return "", false
	}
	return u.Scheme + "://" + host.Authority, true
}

// Authority returns a host with its non-default port in canonical form. What is not a host stays as it
// is: the caller compares it, and must not take two of them for one.
func Authority(raw, scheme string) string {
	host, err := NormalizeHost(raw, scheme)
	if err != nil {
		return raw
	}
	return host.Authority
}
