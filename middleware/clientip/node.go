package clientip

import (
	"net/netip"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// parseNode reads an address as sockets and proxies write it: alone, or with a port; an
// IPv6 address then in brackets, and with a zone perhaps. The form is RFC 7239's node
// (section 6), with the brackets optional where there is no port. The result is
// unmapped and has no zone; false is for all that names no address that a client can
// have: :: and 0.0.0.0 mean that there is none, and multicast is for groups.
func parseNode(s string) (netip.Addr, bool) {
	host := s
	switch {
	case strings.HasPrefix(s, "["):
		inside, after, closed := strings.Cut(s[1:], "]")
		if !closed || !strings.Contains(inside, ":") {
			return netip.Addr{}, false
		}
		if after != "" && (after[0] != ':' || !isPort(after[1:])) {
			return netip.Addr{}, false
		}
		host = inside
	case strings.Count(s, ":") == 1:
		before, port, _ := strings.Cut(s, ":")
		if !isPort(port) {
			return netip.Addr{}, false
		}
		host = before
	}
	// The zone goes before the parsing: netip would intern a name that anybody may have
	// chosen.
	host, zone, zoned := strings.Cut(host, "%")
	addr, err := netip.ParseAddr(host)
	if err != nil || zoned && (zone == "" || addr.Is4()) {
		return netip.Addr{}, false
	}
	addr = addr.Unmap()
	return addr, !addr.IsUnspecified() && !addr.IsMulticast()
}

// isPort accepts RFC 7239's node-port: one to five digits, or an obfuscated one such as
// _p-1.
func isPort(s string) bool {
	if hidden, ok := strings.CutPrefix(s, "_"); ok {
		return httpx.IsToken(hidden)
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return 1 <= len(s) && len(s) <= 5
}
