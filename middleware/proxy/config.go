package proxy

import (
	"maps"
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
	// Cookie gives a client that comes for the first time the next server by
	// RoundRobin, and a cookie that names it (sticky.go). The client stays with
	// it while it is fit, and is given another server and its cookie otherwise.
	Cookie Balance = "cookie"
)

// Values lists the ways.
func (Balance) Values() []string {
	return []string{string(RoundRobin), string(LeastConn), string(P2C), string(IPHash), string(Cookie)}
}

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

// Values lists the protocols.
func (Protocol) Values() []string {
	return []string{string(Auto), string(HTTP1), string(HTTP2), string(H2C)}
}

// What a zero field of Config means.
const (
	DefaultTimeout        = 30 * time.Second
	DefaultConnectTimeout = 5 * time.Second
	DefaultReadTimeout    = 60 * time.Second
	DefaultIdleTimeout    = 4 * time.Second
	DefaultTCPKeepalive   = 15 * time.Second
	DefaultRetries        = 1
	DefaultRetryBudget    = 0.2
	DefaultResolve        = 2 * time.Second

	DefaultWaiting     = 100 // requests
	DefaultWaitTimeout = 5 * time.Second

	DefaultBuffer = 1 << 20 // bytes
	DefaultSpool  = 1 << 30

	DefaultHealthPath     = "/healthz" // of a policy's health_check; in Go a HealthCheck without Path is off
	DefaultHealthInterval = 2 * time.Second
	DefaultHealthTimeout  = time.Second
	DefaultHealthyAfter   = 2
	DefaultUnhealthyAfter = 3

	DefaultEjectFailures = 5
	DefaultEjectFor      = 10 * time.Second
)

// Config is a set of app servers that are alike.
type Config struct {
	// In Go a zero field has its default; a negative Timeout, ReadTimeout, IdleTimeout, TCPKeepalive, Retries or RetryBudget means none,
	// as does a server's Weight or Resolve. The
	// comments below are those of a policy's keys, whose written 0 the policy's loader turns into a negative value.

	// The app servers: http:// or https:// URLs without a path, unix: and the absolute path of a socket, or {url: ..., weight: 2, backup: true}. Required.
	Servers []Server `yaml:"servers" want:"a server's URL" required:"list the URLs of its app servers"`
	// How a server is picked: round_robin (smooth, by weight), least_conn, p2c (the less
	// busy of two at random), ip_hash (consistent: a client stays with its server), or cookie (a client stays with the server that a
	// signed cookie names; it needs session.secrets). Default round_robin.
	Balance Balance `yaml:"balance"`
	// The cookie of balance: cookie.
	Cookie AffinityCookie `yaml:"cookie"`
	// Asking each server regularly whether it is well. Default: off.
	HealthCheck HealthCheck `yaml:"health_check" config:"optional"`
	// Taking a server out that keeps failing real requests. Default: {failures: 5, for: 10s}; off never does.
	Ejection Ejection `yaml:"ejection" config:"optional"`
	// How long a server that is back from illness, or restored after `headgate upstreams drain`, takes to reach its full share of requests.
	// 0 is at once. Default 0s.
	SlowStart time.Duration `yaml:"slow_start"`
	// The most requests in flight at each server, which for HTTP/1.1 is its connections. When every server has that many,
	// the next requests wait for one to end, as `waiting` says. 0 is no bound. Default 0.
	MaxConnections int `yaml:"max_connections"`
	// How requests wait while every server has max_connections: the one that came first gets the first place that becomes free.
	// Default: {requests: 100, timeout: 5s}; off refuses them at once with 503.
	Waiting Waiting `yaml:"waiting" config:"optional"`
	// How long connecting to a server may take, TLS included. Default 5s.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`
	// How long the servers may take to answer with the response's headers, all tries together, from when the request's
	// body has come from the client; 504 after it. A route may say
	// otherwise. 0 is no bound. Default 30s. The body may then take as long as it likes.
	Timeout time.Duration `yaml:"timeout" config:"none"`
	// How long a server may be silent within a response's body; then the client is cut off, so that it does not take a part for the whole.
	// A route may say otherwise. It is not for upgraded connections, and for event streams only where a route says it. 0 is no bound. Default 1m.
	ReadTimeout time.Duration `yaml:"read_timeout" config:"none"`
	// How long an unused connection to a server is kept; 0 keeps none. Default 4s, below the 5s of Node and Apache. Hazard:
	// where the server closes its idle connections sooner, a request can meet a close under way: it is tried again
	// if it is idempotent, else it fails with 502.
	IdleTimeout time.Duration `yaml:"idle_timeout" config:"none"`
	// How old a connection to a server may be when a request is given to it, so that all are replaced from time to time, as behind a load
	// balancer; the requests on it end first. Upgraded connections may become older. 0 is no bound. Default 0s.
	MaxAge time.Duration `yaml:"max_age"`
	// After which silence the system asks whether a server is still there, and how often until it answers (TCP keep-alive, in whole
	// seconds); after nine questions without an answer the connection is closed. off never asks. Default 15s.
	TCPKeepalive time.Duration `yaml:"tcp_keepalive" config:"none,off"`
	// How many more servers are tried after a failure, which `retry` says more about. Idempotent requests alone are ever retried, never after a byte
	// of the response, and not after a time-out unless `retry` says so. What HTTP/2 says was not processed is tried elsewhere besides. A response of at most 64KiB to a
	// request that may be retried is passed on once it is whole. Default 1.
	Retries int `yaml:"retries" config:"none"`
	// Which failures are retried, and how long one try may take; `retries` is how many. Default: {on: connect}.
	Retry Retry `yaml:"retry"`
	// The most retries as a share of requests, from 0 to 1, so that retries can't
	// multiply the load on servers that are failing under it. Default 0.2.
	RetryBudget float64 `yaml:"retry_budget" config:"none"`
	// How much is read ahead of slow clients, so that they do not hold a server's connection. Default: {requests: 1MiB, answers: 1MiB, spool: 1GiB}.
	Buffer Buffer `yaml:"buffer"`
	// What the servers speak: auto (HTTP/2 where TLS offers it, else HTTP/1.1), http1, http2 (over TLS), or
	// h2c (HTTP/2 without TLS, as many gRPC servers do). Default auto.
	Protocol Protocol `yaml:"protocol"`
	// How https servers are verified, and which certificate they are shown. Default: by the system's roots and the URL's host.
	TLS TLS `yaml:"tls" config:"optional"`
}

// AffinityCookie names the server that a client stays with, by a code that only the gateway can make and that is the same on all its
// instances. It lasts as long as the browser, with Path=/, HttpOnly, SameSite=Lax, and Secure for https. A client whose server is gone, unhealthy,
// ejected or drained is given another and a new cookie; where its server is only full, it keeps the cookie. Neither the app servers nor the
// cache see it, and an answer that is stored in the cache never sets it. One that sets it has Cache-Control: private, no-store.
type AffinityCookie struct {
	// Its name. Default "": headgate-server- and eight digits made of the upstream's name.
	Name string `yaml:"name"`
	// Secrets sign it, of 32 bytes or more each: the first signs, all verify. A
	// policy's are those of its sessions.
	Secrets [][]byte `yaml:"-"`
}

// Retry says which failures are retried at another server. Each try counts in metrics, in retry_budget and for ejection, and all of them
// share `timeout`. A Retry-After delays no try, since it is that of the server that was tried; the client is given it with the last answer.
type Retry struct {
	// What is retried: connect (no connection could be made; or it broke, of idempotent requests), timeout (a try took try_timeout), and
	// statuses, of idempotent requests: 429, and 500 to 599. Where no other server can be tried, the client is given the app's answer
	// as it is. Default connect.
	On []RetryOn `yaml:"on"`
	// How long one try may take until the response's headers, within `timeout`; on must have timeout then. Default 0s: as long as timeout.
	TryTimeout time.Duration `yaml:"try_timeout"`
	// Whether POST and PATCH are retried like idempotent requests where they have an Idempotency-Key
	// (draft-ietf-httpapi-idempotency-key-header). Default false. Hazard: an app that does not know the key does the work twice.
	IdempotencyKey bool `yaml:"idempotency_key"`
}

// Buffer bounds what is read ahead, so that a slow client does not hold a server's connection: a request before
// a server is picked, and an answer while the client is slow to take it. What goes beyond the bounds streams at the client's pace. Never
// read ahead are requests with Expect: 100-continue, gRPC, upgraded connections, event streams, and answers with X-Accel-Buffering: no.
type Buffer struct {
	// The most bytes of one request's body in memory. 0 reads no request ahead. Default 1MiB.
	Requests int64 `yaml:"requests" config:"size,none"`
	// The most bytes of one answer's body in memory. 0 reads no answer ahead. Default 1MiB.
	Answers int64 `yaml:"answers" config:"size,none"`
	// The most bytes of all its bodies that are beyond that, in files without a name in server.spool_dir; at least 256KiB.
	// Where a file can't be written, the body streams. 0 writes none. Default 1GiB.
	Spool int64 `yaml:"spool" config:"size,none"`
}

// Server is one app server. In the file it may be just its URL.
type Server struct {
	// Scheme, host and port, as http://127.0.0.1:9001, or a Unix socket, as unix:/run/app.sock (HTTP/1.1, or h2c, without TLS;
	// where it is sent its own Host that is localhost). Required.
	URL string `yaml:"url" config:"self" required:"write it like http://127.0.0.1:9001"`
	// Its share of requests relative to the others, up to 1000; each address of a name has it. 0 drains the server: it gets no new
	// requests, and those in flight end; `headgate upstreams drain` does so at run time, for one instance. Default 1.
	Weight int `yaml:"weight" config:"none"`
	// A backup gets requests only while no other server can: each is unhealthy, ejected, drained, or has failed this very request. Requests
	// wait for the others where these have max_connections, rather than go to a backup. Default false.
	Backup bool `yaml:"backup"`
	// How often DNS is asked for the addresses of the URL's host where that is a name, give or take a tenth. Each address, up to 256 of
	// one family, is a server of its own; one that is missing twice gets no new requests; while DNS fails the last addresses stay.
	// At least 100ms, since every gateway asks for every name on its own; off asks only as a connection is made, and then uses the
	// first address. Default 2s.
	Resolve time.Duration `yaml:"resolve" config:"none,off"`
}

// HealthCheck asks each server for a path, and believes several answers rather than one.
type HealthCheck struct {
	// What is asked for, with GET. Default /healthz.
	Path string `yaml:"path"`
	// Time between two checks of one server. Default 2s.
	Interval time.Duration `yaml:"interval"`
	// How long one check may take; it must not exceed interval. Default 1s.
	Timeout time.Duration `yaml:"timeout"`
	// Good answers in a row after which a sick server gets requests again. Default 2.
	HealthyAfter int `yaml:"healthy_after"`
	// Bad answers in a row after which a server gets no more requests. Default 3.
	UnhealthyAfter int `yaml:"unhealthy_after"`
	// The status of a good answer. 0 is any of 200 to 399. Default 0.
	Expect []int `yaml:"expect" config:"one"`
	// The Host that is asked for. Default: the server's own.
	Host string `yaml:"host"`
	// More headers of the request, by name. Default: none.
	Headers map[string]string `yaml:"headers" config:"headers"`
	// The port that is asked, at each address of the server, by the same protocol as requests. Default 0: the server's own.
	Port int `yaml:"port"`
}

// Ejection takes a server out after consecutive failures of real requests: no connection, one
// that breaks, or 502, 503, 504; a time-out alone is none. Each further ejection of the same server lasts longer. Health checks
// that pass, healthy_after in a row, end an ejection for failed connections; one for statuses runs its time. The last server that
// is left is never ejected; while it refuses connections, it is shown as not healthy.
type Ejection struct {
	// Off switches ejection off.
	Off bool `yaml:"-" config:"isoff"`
	// Consecutive failures after which the server is ejected. Default 5.
	Failures int `yaml:"failures"`
	// How long the first ejection lasts. Default 10s.
	For time.Duration `yaml:"for"`
}

// Waiting is the line of requests for which no server has a place, because of max_connections. The time is part of `timeout`.
// What gets no place is answered with 503 and Retry-After: 1; a client that disconnects leaves the line. Retries do not wait.
type Waiting struct {
	// Off refuses at once.
	Off bool `yaml:"-" config:"isoff"`
	// The most requests that wait at once, at each instance of the gateway. Hazard: a long line in front of servers that are too slow makes
	// every request slow, where a short one serves some and refuses the rest. Default 100.
	Requests int `yaml:"requests"`
	// How long a request waits at most. Default 5s.
	Timeout time.Duration `yaml:"timeout"`
}

// TLS says how the servers' certificates are verified, and which one they are shown. A file that changes is taken up within moments, without a
// reload: further connections go by it, and those without a request are closed. While it can't be used the last good one stays.
type TLS struct {
	// Certificates that are trusted instead of the system's roots, PEM. Default: the system's.
	CAFile string `yaml:"ca_file" config:"path" want:"a path"`
	// The name that is sent (SNI) and that the certificate must hold. Default: the URL's host.
	ServerName string `yaml:"server_name"`
	// Accept any certificate. Default false. Hazard: whoever stands in between can then read and change everything.
	InsecureSkipVerify bool `yaml:"insecure_skip_verify"`
	// The client certificate that servers are shown which ask for one, with its chain, PEM. Default: none.
	CertFile string `yaml:"cert_file" config:"path" want:"a path"`
	// Its private key, PEM.
	KeyFile string `yaml:"key_file" config:"path" want:"a path"`
}

// SetDefaults fills in what is zero and has a default.
func (c *Config) SetDefaults() {
	for i := range c.Servers {
		c.Servers[i].SetDefaults()
	}
	orDefault(&c.Balance, RoundRobin)
	orDefault(&c.Protocol, Auto)
	orDefault(&c.Timeout, DefaultTimeout)
	orDefault(&c.ReadTimeout, DefaultReadTimeout)
	orDefault(&c.ConnectTimeout, DefaultConnectTimeout)
	orDefault(&c.IdleTimeout, DefaultIdleTimeout)
	orDefault(&c.TCPKeepalive, DefaultTCPKeepalive)
	orDefault(&c.Retries, DefaultRetries)
	orDefault(&c.RetryBudget, DefaultRetryBudget)
	if c.HealthCheck.Path != "" {
		c.HealthCheck.SetDefaults()
	}
	c.Ejection.SetDefaults()
	c.Waiting.SetDefaults()
	c.Retry.SetDefaults()
	c.Buffer.SetDefaults()
}

// SetDefaults fills in what is zero.
func (r *Retry) SetDefaults() {
	if len(r.On) == 0 {
		r.On = []RetryOn{RetryConnect}
	}
}

// SetDefaults fills in what is zero.
func (b *Buffer) SetDefaults() {
	orDefault(&b.Requests, DefaultBuffer)
	orDefault(&b.Answers, DefaultBuffer)
	orDefault(&b.Spool, DefaultSpool)
}

// SetDefaults fills in what is zero.
func (s *Server) SetDefaults() {
	orDefault(&s.Weight, 1)
	orDefault(&s.Resolve, DefaultResolve)
}

// SetDefaults fills in what is zero, the path included: a check that has none is off.
func (h *HealthCheck) SetDefaults() {
	orDefault(&h.Path, DefaultHealthPath)
	orDefault(&h.Interval, DefaultHealthInterval)
	orDefault(&h.Timeout, min(DefaultHealthTimeout, h.Interval))
	orDefault(&h.HealthyAfter, DefaultHealthyAfter)
	orDefault(&h.UnhealthyAfter, DefaultUnhealthyAfter)
}

// SetDefaults fills in what is zero, unless ejection is off.
func (e *Ejection) SetDefaults() {
	if !e.Off {
		orDefault(&e.Failures, DefaultEjectFailures)
		orDefault(&e.For, DefaultEjectFor)
	}
}

// SetDefaults fills in what is zero, unless requests do not wait.
func (w *Waiting) SetDefaults() {
	if !w.Off {
		orDefault(&w.Requests, DefaultWaiting)
		orDefault(&w.Timeout, DefaultWaitTimeout)
	}
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Equal reports whether two configurations mean the same. It does not look
// into the files that TLS names; Upstream.Update does.
func (c Config) Equal(d Config) bool {
	return reflect.DeepEqual(c.withDefaults(), d.withDefaults())
}

// withDefaults returns a deep copy in which every zero field has the value
// that it stands for, and what is off has no other fields.
func (c Config) withDefaults() Config {
	c.Servers = slices.Clone(c.Servers)
	for i := range c.Servers {
		c.Servers[i].URL = strings.TrimSuffix(c.Servers[i].URL, "/")
	}
	c.Retry.On = slices.Clone(c.Retry.On)
	if c.HealthCheck.Path == "" {
		c.HealthCheck = HealthCheck{}
	}
	if c.HealthCheck.Expect = slices.Clone(c.HealthCheck.Expect); len(c.HealthCheck.Expect) == 0 {
		c.HealthCheck.Expect = nil
	}
	if c.HealthCheck.Headers = maps.Clone(c.HealthCheck.Headers); len(c.HealthCheck.Headers) == 0 {
		c.HealthCheck.Headers = nil
	}
	if c.Ejection.Off {
		c.Ejection = Ejection{Off: true}
	}
	if c.Waiting.Off {
		c.Waiting = Waiting{Off: true}
	}
	c.SetDefaults()
	return c
}

// effective is a configuration with its defaults as requests read it: retries
// that are switched off, or that have no budget, are none. What was not processed has the default budget then.
func (c Config) effective() Config {
	if c.Retries < 0 || c.RetryBudget < 0 {
		c.Retries, c.RetryBudget = 0, DefaultRetryBudget
	}
	return c
}
