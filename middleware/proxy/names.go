package proxy

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/headgate/headgate/middleware/proxy/internal/discovery"
)

// firstLookup is how long New and Update wait for the addresses of names that they have not met before. After that requests connect to the
// name itself, until DNS has answered.
const firstLookup = 250 * time.Millisecond

// minResolve is the smallest Server.Resolve. Every gateway asks for every name on its own: by less, a few gateways are a load on DNS that
// resolvers limit, while resolvers keep an answer for a second at least.
const minResolve = 100 * time.Millisecond

// watchKey is a name that is asked for. Servers that differ in nothing else share its watch.
type watchKey struct {
	host  string
	port  uint16
	every time.Duration
}

// watchKeyOf returns what is asked for on behalf of a server, and whether anything is: an IP address or a socket is not, nor where Server.Resolve is off.
func watchKeyOf(target *url.URL, s Server) (watchKey, bool) {
	network, at := dialed(target)
	if s.Resolve < 0 || network != "tcp" || !discovery.IsName(target.Hostname()) {
		return watchKey{}, false
	}
	_, port, _ := net.SplitHostPort(at)
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return watchKey{}, false // connecting says what is wrong with it
	}
	return watchKey{target.Hostname(), uint16(n), s.Resolve}, true
}

// watchNames returns the watches of a configuration's names: those that there are, and new ones, whose first answer it waits for. The caller
// holds mu.
func (u *Upstream) watchNames(cfg Config) map[watchKey]*discovery.Watch {
	watches := map[watchKey]*discovery.Watch{}
	if u.testTransport != nil {
		return watches // no connection is ever made
	}
	patience := time.NewTimer(firstLookup)
	defer patience.Stop()
	for _, s := range cfg.Servers {
		target, wrong := parseServer(s.URL)
		if wrong != nil {
			continue // newPool says so
		}
		key, named := watchKeyOf(target, s)
		if !named || watches[key] != nil {
			continue
		}
		if watches[key] = u.watches[key]; watches[key] == nil {
			watches[key] = discovery.Start(discovery.Options{
				Host: key.host, Port: key.port, Interval: key.every, Resolver: u.options.DNS,
				Logger: u.options.Logger, Changed: func([]netip.AddrPort) { u.readdress() },
			})
		}
	}
	for _, w := range watches {
		select {
		case <-w.Asked():
		case <-patience.C:
			return watches
		}
	}
	return watches
}

// closeWatches ends the watches that are not among those in use. The caller does not hold mu, which readdress may be waiting for.
func closeWatches(all, used map[watchKey]*discovery.Watch) {
	for key, w := range all {
		if used[key] != w {
			w.Close()
		}
	}
}

// readdress brings the pool up to the names' addresses.
func (u *Upstream) readdress() {
	u.mu.Lock()
	defer u.mu.Unlock()
	old := u.pool.Load()
	if u.closed || old == nil {
		return
	}
	next, err := u.newPool(old.given, u.key, u.watches, old)
	if err != nil { // not reached: the configuration was checked when it came
		u.options.Logger.Error("new addresses can't be used", "error", err)
		return
	}
	if !slices.EqualFunc(old.members, next.members, func(a, b member) bool { return a.server == b.server }) {
		u.replace(old, next)
	}
}

// place is where a server's connections go to: an address, or, for the zero one, what its URL says.
type place struct {
	address netip.AddrPort
	watch   *discovery.Watch // nil: the address does not change
}

// places returns where a server is. Until its name has been resolved it is where it was in the old pool, or else where its URL says.
func places(target *url.URL, s Server, watches map[watchKey]*discovery.Watch, old *pool) []place {
	key, _ := watchKeyOf(target, s)
	watch := watches[key]
	if watch == nil {
		return []place{{}}
	}
	addresses := watch.Addresses()
	if len(addresses) == 0 {
		addresses = old.addressesOf(target.String())
	}
	var all []place
	for _, a := range addresses {
		all = append(all, place{a, watch})
	}
	if len(all) == 0 {
		return []place{{watch: watch}}
	}
	return all
}

// addressesOf returns the addresses that the pool knows of a server's name.
func (p *pool) addressesOf(name string) []netip.AddrPort {
	var all []netip.AddrPort
	if p == nil {
		return nil
	}
	for _, m := range p.members {
		if m.name == name && m.address.IsValid() {
			all = append(all, m.address)
		}
	}
	return all
}
