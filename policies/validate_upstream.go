package policies

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/internal/mask"
	"github.com/headgate/headgate/middleware/problem"
)

func (c *checker) upstreams() {
	for _, name := range names(c, "upstreams", c.p.Upstreams) {
		u, path := c.p.Upstreams[name], problem.Key("upstreams", name)
		if len(u.Servers) == 0 {
			c.missing(path, "servers", "list the URLs of its app servers")
			if c.at.Has(problem.Key(path, "servers")) {
				c.bad(problem.Key(path, "servers"), "list the URLs of its app servers", "%s has no servers", quote(path))
			}
		}
		secure, plain := c.servers(u, path)
		switch {
		case u.Protocol == UpstreamH2C && secure:
			c.bad(problem.Key(path, "protocol"), "write http2, or http:// servers", "h2c is HTTP/2 without TLS, and a server is https")
		case u.Protocol == UpstreamHTTP2 && plain:
			c.bad(problem.Key(path, "protocol"), "write h2c, or https:// servers", "http2 needs TLS, and a server is http")
		case u.TLS != nil && !secure:
			c.warn(problem.Key(path, "tls"), "write https:// servers, or remove it", "no server speaks TLS")
		case u.TLS != nil && u.TLS.InsecureSkipVerify:
			c.warn(problem.Key(path, "tls", "insecure_skip_verify"), "name the certificate's issuer in ca_file instead", "anybody can pose as these servers")
		}
		if u.HealthCheck != nil {
			c.healthCheck(u.HealthCheck, problem.Key(path, "health_check"))
		}
		if u.Ejection != nil {
			c.between(problem.Key(path, "ejection", "failures"), u.Ejection.Failures, 1, 1000)
			c.positive(problem.Key(path, "ejection", "for"), u.Ejection.For)
		}
		c.positive(problem.Key(path, "connect_timeout"), u.ConnectTimeout)
		c.between(problem.Key(path, "max_connections"), u.MaxConnections, 0, 1<<20)
		c.between(problem.Key(path, "retries"), u.Retries, 0, 10)
		if u.RetryBudget < 0 || u.RetryBudget > 1 {
			c.bad(problem.Key(path, "retry_budget"), "choose a share from 0 to 1, like 0.2", "%v is not a share of requests", u.RetryBudget)
		}
	}
}

// servers checks an upstream's servers, and says whether some are https and some http.
func (c *checker) servers(u *Upstream, path string) (secure, plain bool) {
	first := map[string]bool{}
	for i, s := range u.Servers {
		at := problem.Item(problem.Key(path, "servers"), i)
		c.between(problem.Key(at, "weight"), s.Weight, 1, 1000)
		if s.URL == "" {
			c.missing(at, "url", "write it like http://127.0.0.1:9001")
			if c.at.Has(problem.Key(at, "url")) {
				c.bad(problem.Key(at, "url"), "write scheme, host and port alone, like http://127.0.0.1:9001", "the server has no URL")
			}
			continue
		}
		at = problem.Key(at, "url")
		const mend = "write scheme, host and port alone, like http://127.0.0.1:9001"
		parsed, err := url.Parse(s.URL)
		switch {
		case err != nil || parsed.Opaque != "" || parsed.Host == "" || parsed.Hostname() == "" || !validPort(parsed.Port()):
			c.bad(at, mend, "%s is not a server's URL", quote(mask.URL(s.URL)))
		case parsed.Scheme != "http" && parsed.Scheme != "https":
			c.bad(at, "write http:// or https://; other protocols are chosen by `protocol`", "a server can't be reached by %s", quote(parsed.Scheme))
		case parsed.User != nil:
			c.bad(at, "set the Authorization header with request_headers on the route", "the URL has a user or password in it")
		case parsed.Path != "" && parsed.Path != "/" || parsed.RawQuery != "" || parsed.Fragment != "":
			c.bad(at, mend+"; paths are changed by strip_prefix and rewrite on the route", "the URL %s is more than a server", quote(s.URL))
		case first[sameServer(parsed)]:
			c.bad(at, "remove one, or give one a weight", "%s stands twice", quote(s.URL))
		default:
			first[sameServer(parsed)] = true
			secure = secure || parsed.Scheme == "https"
			plain = plain || parsed.Scheme == "http"
		}
	}
	return secure, plain
}

// sameServer is what a server's URL is compared by: the scheme and the host in lower case.
func sameServer(u *url.URL) string { return u.Scheme + "://" + strings.ToLower(u.Host) }

// portOf is a host's port, or "".
func portOf(h httpx.NormalHost) string {
	return strings.TrimPrefix(strings.TrimPrefix(h.Authority, h.Name), ":")
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

func (c *checker) healthCheck(h *HealthCheck, path string) {
	if c.localPath(problem.Key(path, "path"), h.Path) {
		if u, err := url.ParseRequestURI(h.Path); err != nil || u.Host != "" {
			c.bad(problem.Key(path, "path"), "write it like /healthz", "%s is not a path that can be asked for", quote(h.Path))
		}
	}
	if h.Interval < seconds(1)/10 {
		c.bad(problem.Key(path, "interval"), "choose 100ms or more", "checks that often would be a load of their own")
	}
	c.positive(problem.Key(path, "timeout"), h.Timeout)
	if h.Timeout > h.Interval {
		at := problem.Key(path, "timeout")
		if !c.at.Has(at) {
			at = problem.Key(path, "interval")
		}
		c.bad(at, "make timeout at most interval", "a check may take %v, and the next begins after %v", h.Timeout, h.Interval)
	}
	c.between(problem.Key(path, "healthy_after"), h.HealthyAfter, 1, 100)
	c.between(problem.Key(path, "unhealthy_after"), h.UnhealthyAfter, 1, 100)
	if h.Expect != 0 {
		c.between(problem.Key(path, "expect"), h.Expect, 200, 599)
	}
}
