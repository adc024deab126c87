package policies

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/headgate/headgate/middleware/problem"
)

func (c *checker) server() {
	s := &c.p.Server
	if len(s.Listen) == 0 {
		c.bad("server.listen", "write an address like :8080", "the gateway listens nowhere")
	}
	for i, address := range s.Listen {
		path := problem.Item("server.listen", i)
		if c.address(path, address) && slices.Contains(s.Listen[:i], address) {
			c.bad(path, "remove one", "%s is listened on twice", quote(address))
		}
	}
	c.admin()
	for i, network := range s.TrustedProxies {
		if network.IsValid() && network.Bits() == 0 {
			c.warn(problem.Item("server.trusted_proxies", i), "name the networks of your proxies alone",
				"every client is believed whatever address it claims, and escapes every limit")
		}
	}
	c.between("server.ipv6_prefix", s.IPv6Prefix, 32, 128)
	c.between("server.max_header_bytes", int(s.MaxHeaderBytes), 4<<10, 16<<20)
	c.between("server.max_connections_per_ip", s.MaxConnectionsPerIP, 0, 1<<20)
	if s.ShutdownDelay > 0 && s.ShutdownDelay >= s.ShutdownGrace {
		c.bad("server.shutdown_delay", "make it shorter, or shutdown_grace longer",
			"it is part of shutdown_grace, %s, and leaves nothing of it", FormatDuration(s.ShutdownGrace))
	}
	if s.ReadHeaderTimeout <= 0 || s.ReadHeaderTimeout > seconds(300) {
		c.bad("server.read_header_timeout", "choose one up to 5m", "a slow client could hold a connection for ever")
	}
	if s.IdleTimeout < seconds(1) {
		c.bad("server.idle_timeout", "choose 1s or more", "every request would need a connection of its own")
	}
	c.between("server.min_body_rate", int(s.MinBodyRate), 0, 1<<30)
	if s.WriteTimeout > 0 && s.WriteTimeout < seconds(1) {
		c.bad("server.write_timeout", "choose 1s or more, or 0s for no bound", "a client whose line falters for a moment would lose its answer")
	}
	c.protocols()
	if s.AccessLog == "" {
		c.bad("server.access_log", "write stdout, off, or a file's path", "the access log goes nowhere")
	}
}

func (c *checker) protocols() {
	s := &c.p.Server
	has := func(p ServerProtocol) bool { return slices.Contains(s.Protocols, p) }
	switch {
	case len(s.Protocols) == 0:
		c.bad("server.protocols", "write [http1, http2]", "no protocol is spoken")
	case s.TLS != nil && has(ServerH2C):
		c.bad("server.protocols", "write http2, which comes with TLS", "h2c is HTTP/2 without TLS, and server.tls is set")
	case s.TLS == nil && !has(ServerHTTP1) && !has(ServerH2C):
		c.bad("server.protocols", "add http1 or h2c, or set server.tls", "http2 needs TLS, so no protocol is spoken")
	}
}

func (c *checker) admin() {
	a := &c.p.Server.Admin
	if a.Listen == "off" || !c.address("server.admin.listen", a.Listen) {
		return
	}
	// Port 0 is a free one each time.
	if slices.Contains(c.p.Server.Listen, a.Listen) && !strings.HasSuffix(a.Listen, ":0") {
		c.bad("server.admin.listen", "give the admin listener a port of its own", "%s is also what the public listens on", quote(a.Listen))
	}
	if isLoopback(a.Listen) {
		return
	}
	if a.Token == "" {
		c.bad("server.admin.listen", "set server.admin.token, or listen on 127.0.0.1", "the admin listener is off loopback and has no token")
		return
	}
	c.warn("server.admin.listen", "listen on 127.0.0.1, or keep others away from it by a firewall",
		"the admin listener is off loopback, and its token crosses the network in clear text")
}

func isLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func (c *checker) clients() {
	plans := map[string]bool{}
	for _, l := range c.p.Limits {
		for plan := range l.Plans {
			plans[plan] = true
		}
	}
	owner := map[string]string{}
	for _, name := range names(c, "clients", c.p.Clients) {
		client, path := c.p.Clients[name], problem.Key("clients", name)
		for i, sum := range client.KeySHA256 {
			at := problem.Item(problem.Key(path, "key_sha256"), i)
			sum = strings.ToLower(sum)
			client.KeySHA256[i] = sum
			switch {
			case len(sum) != 64 || strings.Trim(sum, "0123456789abcdef") != "":
				c.bad(at, `make it with: printf %s "$KEY" | sha256sum`, "the key's SHA-256 is not 64 hexadecimal digits")
			case sum == emptySHA256:
				c.bad(at, "set the variable that you hashed, and try again", "this is the SHA-256 of an empty key")
			case owner[sum] != "":
				c.bad(at, "give each client a key of its own", "%s has the same key", quote(owner[sum]))
			default:
				owner[sum] = name
			}
		}
		if client.Plan != "" {
			named(c, problem.Key(path, "plan"), client.Plan, "plans that limits know", plans)
		}
	}
}

const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
