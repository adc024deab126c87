package policies

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/internal/suggest"
	"github.com/headgate/headgate/middleware/clientip"
	"github.com/headgate/headgate/middleware/problem"
	"github.com/headgate/headgate/middleware/ratelimit"
)

// Validate says everything that is wrong with the listeners whose defaults are set.
func (s *Server) Validate() []problem.Problem {
	var ps problem.List
	if len(s.Listen) == 0 {
		ps.Add("listen", "write an address like :8080", "the gateway listens nowhere")
	}
	for i, address := range s.Listen {
		path := problem.Item("listen", i)
		if validateAddress(&ps, path, address) && slices.Contains(s.Listen[:i], address) {
			ps.Add(path, "remove one", "%s is listened on twice", quote(address))
		}
	}
	ps = append(ps, problem.Within("admin", s.Admin.Validate())...)
	if a := s.Admin.Listen; isAddress(a) && slices.Contains(s.Listen, a) && !strings.HasSuffix(a, ":0") { // port 0 is a free one each time
		ps.Add("admin.listen", "give the admin listener a port of its own", "%s is also what the public listens on", quote(a))
	}
	for i, network := range s.TrustedProxies {
		if network.IsValid() && network.Bits() == 0 {
			ps.Warn(problem.Item("trusted_proxies", i), "name the networks of your proxies alone",
				"every client is believed whatever address it claims, and escapes every limit")
		}
	}
	s.validateDeny(&ps)
	s.validatePurgeMethod(&ps)
	s.validateClientAddress(&ps)
	problem.Between(&ps, "ipv6_prefix", s.IPv6Prefix, 32, 128)
	problem.Between(&ps, "max_header_bytes", s.MaxHeaderBytes, 4<<10, 16<<20)
	problem.Between(&ps, "max_connections", s.MaxConnections, 0, 1<<24)
	problem.Between(&ps, "max_connections_per_ip", s.MaxConnectionsPerIP, 0, 1<<20)
	problem.Between(&ps, "max_streams", s.MaxStreams, 1, 10_000)
	problem.Between(&ps, "min_body_rate", s.MinBodyRate, 0, 1<<30)
	s.validateTimes(&ps)
	s.validateProtocols(&ps)
	if s.AccessLog.Path == "" {
		ps.Add("access_log", "write stdout, off, or a file's path", "the access log goes nowhere")
	}
	ps = append(ps, problem.Within("access_log", s.AccessLog.Validate())...)
	return ps
}

func (s *Server) validateTimes(ps *problem.List) {
	if s.ShutdownDelay > 0 && s.ShutdownDelay >= s.ShutdownGrace {
		ps.Add("shutdown_delay", "make it shorter, or shutdown_grace longer",
			"it is part of shutdown_grace, %s, and leaves nothing of it", FormatDuration(s.ShutdownGrace))
	}
	if s.ReadHeaderTimeout <= 0 || s.ReadHeaderTimeout > seconds(300) {
		ps.Add("read_header_timeout", "choose one up to 5m", "a slow client could hold a connection for ever")
	}
	if s.IdleTimeout < seconds(1) {
		ps.Add("idle_timeout", "choose 1s or more", "every request would need a connection of its own")
	}
	if s.WriteTimeout > 0 && s.WriteTimeout < seconds(1) {
		ps.Add("write_timeout", "choose 1s or more, or 0s for no bound", "a client whose line falters for a moment would lose its answer")
	}
}

// validateDeny warns where clients are denied by mistake.
func (s *Server) validateDeny(ps *problem.List) {
	for i, network := range s.Deny {
		path := problem.Item("deny", i)
		if network.IsValid() && network.Bits() == 0 {
			ps.Warn(path, "name the networks of those whom you do not want", "every client is denied")
			continue
		}
		for _, proxies := range s.TrustedProxies {
			if network.Overlaps(proxies) {
				ps.Warn(path, "take "+proxies.String()+" out of it, or out of server.trusted_proxies",
					"it covers trusted proxies: what they ask for themselves is denied, and all of their clients' requests that do not name the client")
				break
			}
		}
	}
}

// sharedNetworks are those whose addresses balancers and proxies have inside a network: private, shared (RFC 6598), loopback and link-local ones.
var sharedNetworks = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
}

// validatePurgeMethod refuses networks that hold every client of a balancer that is not trusted.
func (s *Server) validatePurgeMethod(ps *problem.List) {
	if s.PurgeMethod == nil {
		return
	}
	for i, network := range s.PurgeMethod.Allow {
		path := problem.Item("purge_method.allow", i)
		switch {
		case !network.IsValid():
		case network.Bits() == 0:
			ps.Add(path, "name the networks of those who may purge", "every client may empty the cache")
		case len(s.TrustedProxies) == 0 && !s.PurgeMethod.Direct && slices.ContainsFunc(sharedNetworks, network.Overlaps):
			ps.Add(path, "name the balancer in server.trusted_proxies, or write direct: true beside allow if clients reach this gateway directly",
				"no proxy is trusted, and behind a balancer every visitor has its private address and could empty the cache")
		}
	}
}

// validateClientAddress checks how trusted proxies name the client.
func (s *Server) validateClientAddress(ps *problem.List) {
	known := clientip.Headers()
	list := s.ClientIPHeader == known[0] || s.ClientIPHeader == known[1]
	if !slices.Contains(known, s.ClientIPHeader) {
		lower := strings.ToLower(s.ClientIPHeader)
		if _, near := suggest.Nearest(lower, known); !near && httpx.IsToken(lower) {
			known = append(known, lower)
		}
		if !slices.Contains(known, s.ClientIPHeader) {
			ps.Add("client_ip_header", suggest.DidYouMean(s.ClientIPHeader, "values", known),
				"%s is no value of %s", quote(s.ClientIPHeader), quote("server.client_ip_header"))
		}
	}
	problem.Between(ps, "trusted_hops", s.TrustedHops, 0, clientip.MaxTrustedHops)
	if len(s.TrustedProxies) == 0 && (slices.Contains(s.TrustForwarded, ForwardedHost) || slices.Contains(s.TrustForwarded, ForwardedPort)) {
		ps.Add("trust_forwarded", "name the network that the requests come from in server.trusted_proxies", "it counts for requests from trusted_proxies alone, and there are none")
	}
	switch {
	case s.TrustedHops == 0:
	case len(s.TrustedProxies) == 0:
		ps.Add("trusted_hops", "name the network that the requests come from in server.trusted_proxies", "it counts for requests from trusted_proxies alone, and there are none")
	case !list:
		ps.Add("trusted_hops", "remove it, or write client_ip_header: x-forwarded-for", "%s holds one address, and there is nothing to count", s.ClientIPHeader)
	}
}

func (s *Server) validateProtocols(ps *problem.List) {
	has := func(p ServerProtocol) bool { return slices.Contains(s.Protocols, p) }
	switch {
	case len(s.Protocols) == 0:
		ps.Add("protocols", "write [http1, http2]", "no protocol is spoken")
	case s.TLS != nil && has(ServerH2C):
		ps.Add("protocols", "write http2, which comes with TLS", "h2c is HTTP/2 without TLS, and server.tls is set")
	case s.TLS == nil && !has(ServerHTTP1) && !has(ServerH2C):
		ps.Add("protocols", "add http1 or h2c, or set server.tls", "http2 needs TLS, so no protocol is spoken")
	}
}

// Validate says what is wrong with the listener for operators.
func (a *Admin) Validate() []problem.Problem {
	var ps problem.List
	switch {
	case a.Listen == "off" || !validateAddress(&ps, "listen", a.Listen) || isLoopback(a.Listen):
	case a.Token == "":
		ps.Add("listen", "set server.admin.token, or listen on 127.0.0.1", "the admin listener is off loopback and has no token")
	default:
		ps.Warn("listen", "listen on 127.0.0.1, or keep others away from it by a firewall",
			"the admin listener is off loopback, and its token crosses the network in clear text")
	}
	return ps
}

// validateAddress adds an error where nothing can listen on an address, and reports whether something can.
func validateAddress(ps *problem.List, path, address string) bool {
	if isAddress(address) {
		return true
	}
	ps.Add(path, "write it like :8080, 127.0.0.1:8080 or [::1]:8080", "%s is not an address to listen on", quote(address))
	return false
}

func isAddress(address string) bool {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	return err == nil
}

func isLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// clients checks each client by itself, that no two have one key, and that limits or routes know its plan.
func (c *checker) clients() {
	plans := map[string]bool{}
	for _, l := range c.p.Limits {
		for plan := range l.Plans {
			plans[plan] = true
		}
	}
	for _, r := range c.p.Routes {
		for _, plan := range r.Match.Plan {
			plans[plan] = true
		}
	}
	owner := map[string]string{}
	for _, name := range names(c, "clients", c.p.Clients) {
		client, path := c.p.Clients[name], problem.Key("clients", name)
		c.problems(path, client.Validate())
		for i, sum := range client.KeySHA256 {
			sum = strings.ToLower(sum)
			client.KeySHA256[i] = sum
			if owner[sum] != "" {
				c.bad(problem.Item(problem.Key(path, "key_sha256"), i), "give each client a key of its own", "%s has the same key", quote(owner[sum]))
			} else if wrongSum(sum) == "" {
				owner[sum] = name
			}
		}
		if client.Plan == ratelimit.PlanUser {
			c.bad(problem.Key(path, "plan"), "choose another name", "%s is the plan of users with a session, not of clients", quote(client.Plan))
		} else if client.Plan != "" {
			named(c, problem.Key(path, "plan"), client.Plan, "plans that limits or routes know", plans)
		}
	}
}

// Validate says what is wrong with a client's keys.
func (c *Client) Validate() []problem.Problem {
	var ps problem.List
	for i, sum := range c.KeySHA256 {
		mend := `make it with: printf %s "$KEY" | sha256sum`
		wrong := wrongSum(strings.ToLower(sum))
		if wrong == sumOfNothing {
			mend = "set the variable that you hashed, and try again"
		}
		if wrong != "" {
			ps.Add(problem.Item("key_sha256", i), mend, "%s", wrong)
		}
	}
	return ps
}

const (
	emptySHA256  = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	sumOfNothing = "this is the SHA-256 of an empty key"
)

// wrongSum says why a text in lower case is no key's SHA-256; "" where it is one.
func wrongSum(sum string) string {
	switch {
	case len(sum) != 64 || strings.Trim(sum, "0123456789abcdef") != "":
		return "the key's SHA-256 is not 64 hexadecimal digits"
	case sum == emptySHA256:
		return sumOfNothing
	}
	return ""
}
