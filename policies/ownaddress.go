package policies

import (
	"net"
	"net/netip"

	"github.com/headgate/headgate/middleware/problem"
	"github.com/headgate/headgate/middleware/proxy"
)

// ownAddress reports servers of an upstream that are the gateway itself: each request there would come back.
func (c *checker) ownAddress(path string, u *proxy.Config) {
	for i := range u.Servers {
		network, address, ok := u.Servers[i].Address()
		if !ok || network != "tcp" {
			continue
		}
		for _, own := range c.p.Server.Listen {
			if reaches(address, own) {
				c.bad(problem.Item(problem.Key(path, "servers"), i), "name the app server's own address",
					"the gateway itself listens on %s, so that requests would come back to it", quote(own))
				break
			}
		}
	}
}

// reaches reports whether a connection to an address surely arrives where a listener of
// this machine is. Other names and addresses than loopback's may be this machine's as
// well, where the policy will run; that is found at the first request.
func reaches(address, listen string) bool {
	host, port, err := net.SplitHostPort(address)
	own, ownPort, ownErr := net.SplitHostPort(listen)
	if err != nil || ownErr != nil || port != ownPort || port == "0" {
		return false
	}
	if host == own {
		return true
	}
	here := func(host string) bool { // reached by way of loopback
		addr, err := netip.ParseAddr(host)
		return host == "localhost" || err == nil && (addr.Unmap().IsLoopback() || addr.IsUnspecified())
	}
	every := func(host string) bool {
		addr, err := netip.ParseAddr(host)
		return host == "" || err == nil && addr.IsUnspecified()
	}
	switch {
	case every(own):
		return here(host)
	case own == "localhost" || host == "localhost" || every(host):
		return here(host) && here(own) // either has an address for each family
	}
	a, errA := netip.ParseAddr(host)
	b, errB := netip.ParseAddr(own)
	return errA == nil && errB == nil && a.Unmap() == b.Unmap()
}
