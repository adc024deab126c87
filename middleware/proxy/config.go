package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Balance names a way of choosing a server. All of them honour weights and
// skip servers that are unhealthy, ejected, full, or already tried by the
// same request.
type Balance string

const (
	// RoundRobin is smooth weighted round robin: over any run of picks each
	// server's share is its weight's, spread as evenly as can be. The default.
	RoundRobin Balance = "round_robin"
	// LeastConn picks the server with the fewest requests in flight per unit
	// of weight; round robin decides among equals.
	LeastConn Balance = "least_conn"
	// P2C draws two servers at random, by weight, and picks the one with fewer
	// requests in flight per unit of weight ("power of two choices").
	P2C Balance = "p2c"
	// IPHash gives a client address the same server for as long as that server
	// is available (weighted rendezvous hashing): when a server goes, only its
	// own clients move, and they come back when it does. IPv6 clients are told
	// apart by the prefix that the gateway was told to use.
	IPHash Balance = "ip_hash"
)

// Protocol names what is spoken to the servers.
type Protocol string

const (
	// Auto is HTTP/1.1 to http:// servers, and HTTP/2 or HTTP/1.1, whichever
	// the server chooses in the TLS handshake, to https:// ones. The default.
	Auto Protocol = "auto"
	// HTTP1 is HTTP/1.1 alone.
	HTTP1 Protocol = "http1"
	// HTTP2 is HTTP/2 over TLS alone; every server must be https://.
	HTTP2 Protocol = "http2"
	// H2C is HTTP/2 without TLS, with prior knowledge (RFC 9113 section 3.3);
	// every server must be http://. It is what gRPC servers without TLS speak.
	H2C Protocol = "h2c"
)

// What a zero field of Config means.
const (
	DefaultTimeout        = 30 * time.Second
	DefaultConnectTimeout = 5 * time.Second
	DefaultIdleTimeout    = 4 * time.Second
	DefaultRetryBudget    = 0.2

	DefaultHealthInterval = 2 * time.Second
	DefaultHealthTimeout  = time.Second
	DefaultHealthyAfter   = 2
	DefaultUnhealthyAfter = 3

	DefaultEjectFailures    = 5
	DefaultEjectRate        = 0.5
	DefaultEjectMinRequests = 20
	DefaultEjectWindow      = 10 * time.Second
	DefaultEjectFor         = 10 * time.Second
	DefaultEjectMax         = 5 * time.Minute
)

// Config describes one upstream: a group of interchangeable servers and how
// they are used. Only Servers is required.
type Config struct {
	// Servers are the members, at least one, each URL once.
	Servers []Server
	// Balance chooses among them. Empty: RoundRobin.
	Balance Balance
	// Protocol is what they speak. Empty: Auto.
	Protocol Protocol
	// TLS is for https:// servers; the zero value verifies them against the
	// system's roots.
	TLS TLS

	// Timeout is the longest silence of a server, while it is its turn, until
	// the final response's header has come: it may take this long to take in
	// a piece of the request, and to answer after the last. Then it is 504, or
	// another server's turn. It bounds neither a slow client nor the
	// response's body. Zero: DefaultTimeout; negative: no bound. A route may
	// say otherwise.
	Timeout time.Duration
	// ConnectTimeout bounds the TCP connect, and the TLS handshake after it.
	// Zero: DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// IdleTimeout is how long an unused keep-alive connection is kept. It
	// should be below the servers' own: a request that meets a server's close
	// half-way fails if it is not idempotent or there is no other server.
	// Zero: DefaultIdleTimeout, which is below the 5 s of Node and Apache.
	IdleTimeout time.Duration
	// StreamTimeout is the longest silence of a server within a response's
	// body; then the response is aborted. It does not apply to upgraded
	// connections. Zero: no bound, so that event streams may be quiet.
	StreamTimeout time.Duration
	// MaxConnections bounds the requests in flight at each server, which for
	// HTTP/1.1 is its connections. When every available server is full the
	// answer is 503, at once. Zero: no bound.
	MaxConnections int

	// Retries is how many more servers a request may be tried on. Only
	// idempotent methods (RFC 9110 section 9.2.2) whose body is absent or
	// small enough to be kept (MaxReplay) are tried again, and any request
	// whose connection was never established; never once a byte of the
	// response has been passed on. Zero: none.
	Retries int
	// RetryBudget bounds retries to this share of requests, over 0 up to 1,
	// after a reserve of RetryReserve; it keeps retries from finishing off
	// servers that are failing under load. Zero: DefaultRetryBudget.
	RetryBudget float64
	// RetryStatuses are response statuses that are tried again like a failure
	// (the last server's answer is passed on as it is). Empty: none.
	RetryStatuses []int

	// HealthCheck asks each server how it is. The zero value does not.
	HealthCheck HealthCheck
	// Ejection takes failing servers out, by what happens to real requests.
	Ejection Ejection
	// SlowStart is how long a server that came back, or was added by Update,
	// takes to ramp up to its full share. Zero: none.
	SlowStart time.Duration
}

// Server is one member of an upstream.
type Server struct {
	// URL is scheme://host[:port], without a path, query or user.
	URL string
	// Weight is its share in relation to the others', 1 to 1000. Zero: 1.
	Weight int
}

// HealthCheck describes the active check: a GET to each server, on a schedule
// of its own. A server starts as healthy, and the first check is at once.
type HealthCheck struct {
	// Path is what is asked for, such as /healthz. Empty: no active check.
	Path string
	// Host is the request's Host. Empty: the server's own.
	Host string
	// Interval is the time between two checks of a server, give or take a
	// tenth so that instances do not march in step. Zero: DefaultHealthInterval.
	Interval time.Duration
	// Timeout bounds one check. Zero: DefaultHealthTimeout, or the Interval if
	// that is shorter.
	Timeout time.Duration
	// HealthyAfter and UnhealthyAfter are how many checks in a row change the
	// verdict. Zero: DefaultHealthyAfter, DefaultUnhealthyAfter.
	HealthyAfter   int
	UnhealthyAfter int
	// Expect are the statuses of a healthy answer. Empty: 200 to 399.
	Expect []int
}

// Ejection is the circuit breaker of each server. Failures of real requests
// (no connection, no answer in time, a broken answer, a status in Statuses)
// open it: the server gets no requests for a time that doubles with every
// ejection in a row. Then it is on trial with one request at a time, and only
// with such as could be tried elsewhere; a success closes the breaker.
//
// The last server that is left is never ejected: a failing server is better
// than none.
type Ejection struct {
	// Off switches ejection off.
	Off bool
	// Failures in a row open the breaker. Zero: DefaultEjectFailures.
	Failures int
	// Rate is the share of failures among at least MinRequests within Window
	// that opens it. Zero: DefaultEjectRate, DefaultEjectMinRequests,
	// DefaultEjectWindow.
	Rate        float64
	MinRequests int
	Window      time.Duration
	// For is the first ejection's length, Max that of the longest.
	// Zero: DefaultEjectFor, DefaultEjectMax.
	For time.Duration
	Max time.Duration
	// MaxPercent is the largest share of the servers that may be ejected at
	// once, 1 to 100. Zero: all but one.
	MaxPercent int
	// Statuses are responses that count as failures. Nil: 502, 503 and 504,
	// which servers send about others; 500 is left out, since a client that
	// has found a way to provoke it could empty the upstream. An empty slice
	// counts none.
	Statuses []int
}

// TLS describes the connections to https:// servers.
type TLS struct {
	// ServerName is what the certificate must be for, and the SNI. Empty: the
	// host of the server's URL.
	ServerName string
	// CAFile holds the PEM certificates to verify against, instead of the
	// system's.
	CAFile string
	// CertFile and KeyFile are the client certificate, PEM, both or neither.
	CertFile string
	KeyFile  string
	// InsecureSkipVerify accepts any certificate: whoever can get in between
	// can read and change everything.
	InsecureSkipVerify bool
}

// Equal reports whether two configurations mean the same. It does not look
// into the files that TLS names; Upstream.Update does.
func (c Config) Equal(d Config) bool {
	return reflect.DeepEqual(c.withDefaults(), d.withDefaults())
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// withDefaults returns a deep copy in which every zero field has the value
// that it stands for.
func (c Config) withDefaults() Config {
	c.Servers = slices.Clone(c.Servers)
	for i := range c.Servers {
		orDefault(&c.Servers[i].Weight, 1)
		c.Servers[i].URL = strings.TrimSuffix(c.Servers[i].URL, "/")
	}
	orDefault(&c.Balance, RoundRobin)
	orDefault(&c.Protocol, Auto)
	orDefault(&c.Timeout, DefaultTimeout)
	orDefault(&c.ConnectTimeout, DefaultConnectTimeout)
	orDefault(&c.IdleTimeout, DefaultIdleTimeout)
	orDefault(&c.RetryBudget, DefaultRetryBudget)
	c.RetryStatuses = slices.Clone(c.RetryStatuses)
	if len(c.RetryStatuses) == 0 {
		c.RetryStatuses = nil
	}

	h := &c.HealthCheck
	if h.Path == "" {
		*h = HealthCheck{}
	} else {
		orDefault(&h.Interval, DefaultHealthInterval)
		orDefault(&h.Timeout, min(DefaultHealthTimeout, h.Interval))
		orDefault(&h.HealthyAfter, DefaultHealthyAfter)
		orDefault(&h.UnhealthyAfter, DefaultUnhealthyAfter)
		h.Expect = slices.Clone(h.Expect)
	}

	e := &c.Ejection
	orDefault(&e.Failures, DefaultEjectFailures)
	orDefault(&e.Rate, DefaultEjectRate)
	orDefault(&e.MinRequests, DefaultEjectMinRequests)
	orDefault(&e.Window, DefaultEjectWindow)
	orDefault(&e.For, DefaultEjectFor)
	orDefault(&e.Max, max(DefaultEjectMax, e.For))
	orDefault(&e.MaxPercent, 100)
	if e.Statuses == nil {
		e.Statuses = []int{http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}
	} else {
		e.Statuses = slices.Clone(e.Statuses)
	}
	return c
}

// validate reports the first mistake of a configuration with its defaults in
// place.
func (c Config) validate() error {
	if len(c.Servers) == 0 {
		return fmt.Errorf("no servers; name at least one, such as http://127.0.0.1:9001")
	}
	seen := make(map[string]bool, len(c.Servers))
	for _, s := range c.Servers {
		u, err := parseServer(s.URL)
		if err != nil {
			return err
		}
		if seen[u.String()] {
			return fmt.Errorf("server %q is listed twice; give it a weight instead", s.URL)
		}
		seen[u.String()] = true
		if s.Weight < 1 || s.Weight > maxWeight {
			return fmt.Errorf("server %q: weight %d is out of range; use 1 to %d", s.URL, s.Weight, maxWeight)
		}
		switch {
		case c.Protocol == H2C && u.Scheme != "http":
			return fmt.Errorf("server %q: h2c is HTTP/2 without TLS; use http://, or protocol http2", s.URL)
		case c.Protocol == HTTP2 && u.Scheme != "https":
			return fmt.Errorf("server %q: http2 needs TLS; use https://, or protocol h2c", s.URL)
		}
	}
	switch c.Balance {
	case RoundRobin, LeastConn, P2C, IPHash:
	default:
		return fmt.Errorf("balance %q is unknown; use %s, %s, %s or %s", c.Balance, RoundRobin, LeastConn, P2C, IPHash)
	}
	switch c.Protocol {
	case Auto, HTTP1, HTTP2, H2C:
	default:
		return fmt.Errorf("protocol %q is unknown; use %s, %s, %s or %s", c.Protocol, Auto, HTTP1, HTTP2, H2C)
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		return fmt.Errorf("a client certificate needs both its certificate and its key file")
	}
	for name, d := range map[string]time.Duration{
		"connect timeout": c.ConnectTimeout, "idle timeout": c.IdleTimeout,
		"stream timeout": c.StreamTimeout, "slow start": c.SlowStart,
		"health check interval": c.HealthCheck.Interval, "health check timeout": c.HealthCheck.Timeout,
		"ejection window": c.Ejection.Window, "ejection time": c.Ejection.For, "longest ejection time": c.Ejection.Max,
	} {
		if d < 0 {
			return fmt.Errorf("%s %s is negative", name, d)
		}
	}
	for name, n := range map[string]int{
		"retries": c.Retries, "max connections": c.MaxConnections,
		"healthy after": c.HealthCheck.HealthyAfter, "unhealthy after": c.HealthCheck.UnhealthyAfter,
		"ejection failures": c.Ejection.Failures, "ejection min requests": c.Ejection.MinRequests,
	} {
		if n < 0 {
			return fmt.Errorf("%s %d is negative", name, n)
		}
	}
	if c.RetryBudget < 0 || c.RetryBudget > 1 {
		return fmt.Errorf("retry budget %v is out of range; it is a share of the requests, over 0 up to 1", c.RetryBudget)
	}
	if c.Ejection.Rate < 0 || c.Ejection.Rate > 1 {
		return fmt.Errorf("ejection rate %v is out of range; it is a share of the requests, over 0 up to 1", c.Ejection.Rate)
	}
	if c.Ejection.MaxPercent < 1 || c.Ejection.MaxPercent > 100 {
		return fmt.Errorf("ejection max percent %d is out of range; use 1 to 100", c.Ejection.MaxPercent)
	}
	if p := c.HealthCheck.Path; p != "" {
		if u, err := url.ParseRequestURI(p); err != nil || !strings.HasPrefix(p, "/") || u.Host != "" {
			return fmt.Errorf("health check path %q is not a path; it starts with one slash, such as /healthz", p)
		}
	}
	return nil
}

// parseServer parses a server's URL and insists that it is nothing but an
// address: what is forwarded is the request's own path, as it was routed.
func parseServer(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, fmt.Errorf("server %q: %w", s, err)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("server %q: the scheme must be http or https, such as http://127.0.0.1:9001", s)
	case u.Hostname() == "":
		return nil, fmt.Errorf("server %q: the host is missing", s)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("server %q: only scheme, host and port belong here", s)
	case u.Path != "" && u.Path != "/":
		return nil, fmt.Errorf("server %q: a server has no path; rewrite the path on the route instead", s)
	}
	return &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host)}, nil
}

// Check reports what is wrong with the configuration, the files that TLS names
// included: what New and Update would refuse.
func (c Config) Check() error {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return err
	}
	_, err := newTransportKey(c)
	return err
}
