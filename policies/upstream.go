package policies

import "time"

// Upstream is a set of app servers that are alike.
type Upstream struct {
	// The app servers: http:// or https:// URLs without a path, or {url: ..., weight: 2}. Required.
	Servers []*UpstreamServer `yaml:"servers" want:"a server's URL"`
	// How a server is picked: round_robin (smooth, by weight), least_conn, p2c (the less
	// busy of two at random), or ip_hash (consistent: a client stays with its server). Default round_robin.
	Balance Balance `yaml:"balance"`
	// Asking each server regularly whether it is well. Default: off.
	HealthCheck *HealthCheck `yaml:"health_check"`
	// Taking a server out that keeps failing real requests. Default: {failures: 5, for: 10s}; off never does.
	Ejection *Ejection `yaml:"ejection"`
	// How long a server that is back from illness takes to reach its full share of requests. 0 is at once. Default 0s.
	SlowStart time.Duration `yaml:"slow_start"`
	// The most requests in flight at each server, which for HTTP/1.1 is its connections. Hazard: requests do not
	// wait for one to end; when every server has that many, the next is refused at once with 503. 0 is no bound. Default 0.
	MaxConnections int `yaml:"max_connections"`
	// How long connecting to a server may take, TLS included. Default 5s.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`
	// How long a server may take to answer with its response's headers; 504 after it. A route may say
	// otherwise. 0 is no bound. Default 30s. The body may then take as long as it likes.
	Timeout time.Duration `yaml:"timeout"`
	// How long an unused connection to a server is kept. Default 4s, below the 5s of Node and Apache. Hazard:
	// where the server closes its idle connections sooner, requests meet closed ones: another server is tried
	// if there is one and the request is idempotent, else they fail with 502.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// How many other servers are tried after a failure. Idempotent requests alone are ever
	// retried, and never after a byte of the response. Default 1.
	Retries int `yaml:"retries"`
	// The most retries as a share of requests, from 0 to 1, so that retries can't
	// multiply the load on servers that are failing under it. Default 0.2.
	RetryBudget float64 `yaml:"retry_budget"`
	// What the servers speak: auto (HTTP/2 where TLS offers it, else HTTP/1.1), http1, http2 (over TLS), or
	// h2c (HTTP/2 without TLS, as many gRPC servers do). Default auto.
	Protocol UpstreamProtocol `yaml:"protocol"`
	// How https servers are verified. Default: by the system's roots and the URL's host.
	TLS *UpstreamTLS `yaml:"tls"`
}

// UpstreamServer is one app server. In the file it may be just its URL.
type UpstreamServer struct {
	// Scheme, host and port, as http://127.0.0.1:9001. Required.
	URL string `yaml:"url" config:"self" required:"write it like http://127.0.0.1:9001"`
	// Its share of requests relative to the others, 1 to 1000. Default 1.
	Weight int `yaml:"weight"`
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
	Expect int `yaml:"expect"`
}

// Ejection takes a server out after consecutive failures of real requests: no connection, no
// answer in time, or 502, 503, 504. Each further ejection of the same server lasts longer.
type Ejection struct {
	// Consecutive failures after which the server is ejected. Default 5.
	Failures int `yaml:"failures"`
	// How long the first ejection lasts. Default 10s.
	For time.Duration `yaml:"for"`
}

// UpstreamTLS says how the servers' certificates are verified.
type UpstreamTLS struct {
	// Certificates that are trusted instead of the system's roots, PEM. Default: the system's.
	CAFile string `yaml:"ca_file" config:"path" want:"a path"`
	// The name that is sent (SNI) and that the certificate must hold. Default: the URL's host.
	ServerName string `yaml:"server_name"`
	// Accept any certificate. Default false. Hazard: whoever stands in between can then read and change everything.
	InsecureSkipVerify bool `yaml:"insecure_skip_verify"`
}
