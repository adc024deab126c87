package session

import (
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// A session is valid where it was made and nowhere else: the app at one host must not be able to
// log its users in at another host behind the same gateway. A record's Host says where that is:
// the host without its port, or the cookie's domain with a dot before it where the host lies in
// that domain.

// noHost stands in a record for a request that names no host, or none that can be one.
const noHost = "."

// boundTo returns the Host of a record that is made at this host.
func (m *Manager) boundTo(host string) string {
	name := httpx.HostName(host)
	switch domain := m.set.Cookie.domain(); {
	case name == "":
		return noHost
	case domain != "" && (name == domain || strings.HasSuffix(name, "."+domain)):
		return "." + domain
	}
	return name
}

// isValidAt reports whether a record with this Host opens anything at host. What was made before
// the cookie had a domain stays valid at its own host; what was made for a domain that the
// cookie no longer has is valid nowhere.
func (m *Manager) isValidAt(bound, host string) bool {
	return bound != "" && (bound == m.boundTo(host) || bound == httpx.HostName(host))
}

// domain returns the cookie's domain as hosts are compared: in lower case, without dots around it.
func (c *CookieOptions) domain() string { return strings.ToLower(strings.Trim(c.Domain, ".")) }
