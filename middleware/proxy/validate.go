package proxy

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/problem"
)

const (
	maxConnections = 1 << 20
	maxRetries     = 10
	maxWaiting     = 1 << 20

	maxTCPKeepalive = 9 * time.Hour // Linux takes 32767 s at most
)

// Check reports what is wrong with the configuration, the files that TLS names
// included: what New and Update would refuse.
func (c Config) Check() error {
	c = c.withDefaults()
	if err := problem.Error("proxy", c.Validate()); err != nil {
		return err
	}
	_, err := newTransportKey(c)
	return err
}

// Validate says everything that is wrong with a configuration whose defaults are set.
func (c *Config) Validate() []problem.Problem {
	var ps problem.List
	if len(c.Servers) == 0 {
		ps.Add("servers", "list the URLs of its app servers", "it has no servers")
	} else if !slices.ContainsFunc(c.Servers, func(s Server) bool { return !s.Backup }) {
		ps.Add("servers", "remove backup from those that are to get requests first", "every server is a backup, of none")
	}
	secure, plain := c.validateServers(&ps)
	problem.Word(&ps, "balance", c.Balance)
	problem.Word(&ps, "protocol", c.Protocol)
	switch {
	case c.Protocol == H2C && secure:
		ps.Add("protocol", "write http2, or http:// servers", "h2c is HTTP/2 without TLS, and a server is https")
	case c.Protocol == HTTP2 && plain:
		ps.Add("protocol", "write h2c, or https:// servers", "http2 needs TLS, and a server is http")
	case c.TLS != (TLS{}) && !secure:
		ps.Warn("tls", "write https:// servers, or remove it", "no server speaks TLS")
	case c.TLS.InsecureSkipVerify:
		ps.Warn("tls.insecure_skip_verify", "name the certificate's issuer in ca_file instead", "anybody can pose as these servers")
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		ps.Add("tls", "name both", "a client certificate needs both its certificate and its key file")
	}
	if h := &c.HealthCheck; !h.isZero() {
		ps = append(ps, problem.Within("health_check", h.Validate())...)
		if h.Port != 0 && slices.ContainsFunc(c.Servers, func(s Server) bool { _, socket := cutFold(s.URL, unixScheme+":"); return socket }) {
			ps.Add("health_check.port", "remove it; a check goes to the socket then", "a Unix socket has no port")
		}
	}
	if !c.Ejection.Off {
		ps = append(ps, problem.Within("ejection", c.Ejection.Validate())...)
	}
	if !c.Waiting.Off {
		ps = append(ps, problem.Within("waiting", c.Waiting.Validate())...)
	}
	if s := c.Buffer.Spool; s > 0 && s < 256<<10 {
		ps.Add("buffer.spool", "choose 256KiB or more, or 0 for none", "files are given out in pieces of 256KiB")
	}
	c.validateCookie(&ps)
	c.validateRetry(&ps)
	c.validateNumbers(&ps)
	return ps
}

func (c *Config) validateNumbers(ps *problem.List) {
	problem.Positive(ps, "connect_timeout", c.ConnectTimeout)
	notNegative(ps, "slow_start", c.SlowStart)
	notNegative(ps, "max_age", c.MaxAge)
	if d := c.TCPKeepalive; d > 0 && (d < time.Second || d > maxTCPKeepalive) {
		ps.Add("tcp_keepalive", "choose 1s to 9h, or off", "the system can't ask every %v", d)
	}
	problem.Between(ps, "max_connections", c.MaxConnections, 0, maxConnections)
	problem.Between(ps, "retries", max(c.Retries, 0), 0, maxRetries) // negative: none
	if c.RetryBudget > 1 {
		ps.Add("retry_budget", "choose a share from 0 to 1, like 0.2", "%v is not a share of requests", c.RetryBudget)
	}
}

func notNegative(ps *problem.List, path string, d time.Duration) {
	if d < 0 {
		ps.Add(path, "write 0s or more", "%v is a negative duration", d)
	}
}

// validateServers checks the servers, and says whether some are https and some http.
func (c *Config) validateServers(ps *problem.List) (secure, plain bool) {
	first := map[string]bool{}
	for i, s := range c.Servers {
		at := problem.Item("servers", i)
		problem.Between(ps, problem.Key(at, "weight"), max(s.Weight, 0), 0, maxWeight) // negative: drained
		if s.Resolve > 0 && s.Resolve < minResolve {
			ps.Add(problem.Key(at, "resolve"), fmt.Sprintf("write %v or more, or off", minResolve), "%v is too often to ask DNS", s.Resolve)
		}
		at = problem.Key(at, "url")
		u, wrong := parseServer(s.URL)
		switch {
		case wrong != nil:
			wrong.Path = at
			*ps = append(*ps, *wrong)
		case first[u.String()]:
			ps.Add(at, "remove one, or give one a weight", "%s stands twice", problem.Quote(s.URL))
		default:
			first[u.String()] = true
			secure = secure || u.Scheme == "https"
			plain = plain || u.Scheme != "https"
		}
	}
	return secure, plain
}

func (h *HealthCheck) isZero() bool {
	return h.Path == "" && h.Host == "" && len(h.Headers) == 0 && h.Port == 0 && h.Interval == 0 && h.Timeout == 0 && h.HealthyAfter == 0 && h.UnhealthyAfter == 0 && len(h.Expect) == 0
}

// Validate says what is wrong with a health check that is on.
func (h *HealthCheck) Validate() []problem.Problem {
	var ps problem.List
	if problem.LocalPath(&ps, "path", h.Path) {
		if u, err := url.ParseRequestURI(h.Path); err != nil || u.Host != "" {
			ps.Add("path", "write it like "+DefaultHealthPath, "%s is not a path that can be asked for", problem.Quote(h.Path))
		}
	}
	if h.Interval < 0 {
		problem.Positive(&ps, "interval", h.Interval)
	}
	problem.Positive(&ps, "timeout", h.Timeout)
	problem.Between(&ps, "healthy_after", h.HealthyAfter, 1, 100)
	problem.Between(&ps, "unhealthy_after", h.UnhealthyAfter, 1, 100)
	for i, status := range h.Expect {
		problem.Between(&ps, problem.Item("expect", i), status, 200, 599)
	}
	problem.Between(&ps, "port", h.Port, 0, 1<<16-1)
	if u, err := url.Parse("http://" + h.Host); h.Host != "" && (err != nil || u.Host != h.Host || u.Hostname() == "" || !httpx.ValidPort(u.Port())) {
		ps.Add("host", "write it like shop.example or shop.example:8080", "%s is not a host", problem.Quote(h.Host))
	}
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		if mend, wrong := h.wrongHeader(name); wrong != "" {
			ps.Add(problem.Key("headers", name), mend, "%s", wrong)
		}
	}
	return ps
}

// wrongHeader says what is wrong with a header of the check, and the mend; "" is nothing.
func (h *HealthCheck) wrongHeader(name string) (mend, wrong string) {
	switch canonical := http.CanonicalHeaderKey(name); {
	case !httpguts.ValidHeaderFieldName(name):
		return "use letters, digits and hyphens", problem.Quote(name) + " is not the name of a header"
	case canonical == "Host":
		return "write it as the check's host", "Host is not among the headers"
	case httpx.IsHopByHop(canonical) || canonical == "Content-Length" || canonical == "Expect":
		return "remove it", canonical + " is the connection's, and the gateway writes it"
	case !httpguts.ValidHeaderFieldValue(h.Headers[name]):
		return "remove what can't be printed", "the value of " + canonical + " can't stand in a header"
	}
	return "", ""
}

// Validate says what is wrong with an ejection that is on.
func (e *Ejection) Validate() []problem.Problem {
	var ps problem.List
	problem.Between(&ps, "failures", e.Failures, 1, 1000)
	problem.Positive(&ps, "for", e.For)
	return ps
}

// Validate says what is wrong with a line of waiting requests.
func (w *Waiting) Validate() []problem.Problem {
	var ps problem.List
	problem.Between(&ps, "requests", w.Requests, 1, maxWaiting)
	problem.Positive(&ps, "timeout", w.Timeout)
	return ps
}
