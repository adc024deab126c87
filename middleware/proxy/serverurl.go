package proxy

import (
	"net"
	"net/url"
	"path"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/internal/mask"
	"github.com/headgate/headgate/middleware/problem"
)

// parseServer parses a server's URL and insists that it is nothing but an
// address: what is forwarded is the request's own path, as it was routed.
// Servers are the same where the results' strings are.
func parseServer(s string) (*url.URL, *problem.Problem) {
	const mend = "write scheme, host and port alone, like http://127.0.0.1:9001"
	wrong := func(mend, format string, args ...any) (*url.URL, *problem.Problem) {
		p := problem.New("", mend, format, args...)
		return nil, &p
	}
	if socket, ok := cutFold(s, unixScheme+":"); ok {
		return parseSocket(s, socket)
	}
	u, err := url.Parse(s)
	switch {
	case s == "":
		return wrong(mend, "the server has no URL")
	case err == nil && u.Host == unixScheme+":":
		return wrong("write unix:/run/app.sock, without http", "%s mixes a host with a socket's path", problem.Quote(s))
	case isHostAndPort(s):
		return wrong("write "+problem.Quote("http://"+s), "%s has no scheme", problem.Quote(s))
	case err != nil || u.Opaque != "" || u.Host == "" || u.Hostname() == "" || !httpx.ValidPort(u.Port()):
		return wrong(mend, "%s is not a server's URL", problem.Quote(mask.URL(s)))
	case u.Scheme != "http" && u.Scheme != "https":
		return wrong("write http://, https:// or unix:; other protocols are chosen by `protocol`", "a server can't be reached by %s", problem.Quote(u.Scheme))
	case u.User != nil:
		return wrong("set the Authorization header with request_headers on the route", "the URL has a user or password in it")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return wrong(mend+"; paths are changed by strip_prefix and rewrite on the route", "the URL %s is more than a server", problem.Quote(s))
	}
	return &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host)}, nil
}

// isHostAndPort reports whether s is localhost:3000 or the like, which has nothing in it that could be a secret.
func isHostAndPort(s string) bool {
	if strings.ContainsAny(s, "/@?#") {
		return false
	}
	u, err := url.Parse("http://" + s)
	return err == nil && u.Hostname() != "" && u.Port() != "" && httpx.ValidPort(u.Port())
}

const (
	unixScheme = "unix"
	// maxSocketPath is the most bytes of a socket's path on Linux; others have less.
	maxSocketPath = 107
)

// parseSocket parses unix:/path or unix:///path. The path is one of the file system, in which % and ? mean nothing.
func parseSocket(s, socket string) (*url.URL, *problem.Problem) {
	wrong := func(mend, format string, args ...any) (*url.URL, *problem.Problem) {
		p := problem.New("", mend, format, args...)
		return nil, &p
	}
	const mend = "write the socket's absolute path, like unix:/run/app.sock"
	if rest, ok := strings.CutPrefix(socket, "//"); ok && !strings.HasPrefix(rest, "/") {
		return wrong(mend, "%s has a host where a path begins", problem.Quote(s))
	}
	switch {
	case !strings.HasPrefix(socket, "/"):
		return wrong(mend, "%s has no absolute path", problem.Quote(s))
	case strings.ContainsRune(socket, 0):
		return wrong(mend, "%s has a zero byte in it", problem.Quote(s))
	}
	clean := path.Clean(socket)
	switch {
	case clean == "/" || strings.HasSuffix(socket, "/"):
		return wrong(mend, "%s is a folder", problem.Quote(s))
	case len(clean) > maxSocketPath:
		return wrong("choose a shorter path", "the path of a socket has at most %d bytes, and %s has %d", maxSocketPath, problem.Quote(s), len(clean))
	}
	return &url.URL{Scheme: unixScheme, Opaque: clean}, nil
}

// cutFold is strings.CutPrefix, whatever the prefix' case.
func cutFold(s, prefix string) (rest string, ok bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// requestURL is a server's URL as requests have it. A socket has no host, and is called localhost.
func requestURL(target *url.URL) *url.URL {
	if target.Scheme == unixScheme {
		return &url.URL{Scheme: "http", Host: "localhost"}
	}
	return target
}

// dialed is where a server listens, as net.Dial takes it.
func dialed(target *url.URL) (network, address string) {
	if target.Scheme == unixScheme {
		return "unix", target.Opaque
	}
	port := target.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[target.Scheme]
	}
	return "tcp", net.JoinHostPort(target.Hostname(), port)
}

// Address is where connections to the server are made, as net.Dial takes it: "tcp" and
// host:port, or "unix" and a path. ok is false where URL is none that a server can have.
func (s *Server) Address() (network, address string, ok bool) {
	target, wrong := parseServer(s.URL)
	if wrong != nil {
		return "", "", false
	}
	network, address = dialed(target)
	return network, address, true
}
