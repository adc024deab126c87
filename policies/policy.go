package policies

import (
	"net/netip"
	"time"

	"github.com/headgate/headgate/internal/yamlnode"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/jobs"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/middleware/store"
)

// Policy is a whole policy file. After Load every default has been filled in
// and every name resolves, so that its readers never ask whether something
// was written. It is not changed afterwards and may be read by any number of
// goroutines.
type Policy struct {
	// The version of this format. It is required, and 1 is the only one.
	Version int `yaml:"version"`
	// More policy files, as paths or globs relative to this file. They are read
	// as if their keys stood here; a name that two files define is an error that
	// shows both places. A glob that matches nothing is an error, too.
	Include []string `yaml:"include" config:"add"`
	// Where the gateway listens, whom it believes, and what it refuses.
	Server Server `yaml:"server"`
	// What the gateway may take of its memory.
	Memory Memory `yaml:"memory"`
	// The Redis that all instances of the gateway share. Without it everything
	// lives in this one process.
	Redis store.Options `yaml:"redis"`
	// The app servers, by a name of your own that routes refer to.
	Upstreams map[string]*proxy.Config `yaml:"upstreams"`
	// Who calls with an API key (X-API-Key, or Authorization: Bearer), by a name
	// of your own: it is what the app server sees as Headgate-Client.
	Clients map[string]*Client `yaml:"clients"`
	// Rate limits by name. A named limit is one counter, shared by all routes that name it.
	Limits map[string]*ratelimit.Limit `yaml:"limits"`
	// Rules for the response cache by name.
	Caches map[string]*cache.Rule `yaml:"caches"`
	// Queues of jobs by name: a route with a queue answers 202, and the app is asked later. Default: none.
	Queues map[string]*jobs.Queue `yaml:"queues"`
	// Where clients ask for their jobs, how apps enqueue, and whether this instance works.
	Jobs Jobs `yaml:"jobs"`
	// Jobs by the clock, by a name of your own. Default: none.
	Schedules map[string]*jobs.Schedule `yaml:"schedules"`
	// Sessions: the cookie, how long it lives, and the protection from cross-site requests.
	Session session.Settings `yaml:"session"`
	// What every route has unless it says otherwise. Limits add up: a route's own
	// come after these, and `limits: off` on the route has none at all.
	Defaults Settings `yaml:"defaults"`
	// Settings by name that routes take with `group: name`. They win over
	// defaults, and the route's own win over them. Limits add up.
	Groups map[string]*Settings `yaml:"groups"`
	// The routes. Their order matters only between routes that are equally specific.
	Routes []*Route `yaml:"routes"`

	source *yamlnode.Source
	reads  []string // x_file secrets that were read
}

// Server is the public listener.
type Server struct {
	// Addresses to listen on, as host:port or :port; one or a list. Default ":8080".
	Listen []string `yaml:"listen"`
	// The admin listener: health, metrics, purge, sessions, limits, the running policy.
	Admin Admin `yaml:"admin"`
	// Networks of the proxies in front of this gateway, whose word on the
	// client's address is believed. Default: none, and every client is who its
	// connection says. Hazard: a network that holds clients lets them choose
	// their own address, and with it escape every limit.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	// Networks whose requests get 403 on every path, at the price of a 429: none of them is routed, limited or logged in. It goes by the
	// client's address, as trusted_proxies tell it. `headgate block` does the same at run time. Default: none.
	Deny []netip.Prefix `yaml:"deny" config:"tightens"`
	// The method PURGE of clients that may purge: each request purges its URL from the cache. Default: PURGE is forwarded like other methods.
	PurgeMethod *PurgeMethod `yaml:"purge_method"`
	// The header in which the trusted proxies name the client: x-forwarded-for or forwarded, of which all lines are
	// read from the right, or one that holds a single address, such as cf-connecting-ip, x-real-ip or true-client-ip.
	// That one alone is read. A single address is removed from requests of other peers. Hazard: a proxy that passes on
	// the header as a client wrote it lets clients choose their own address. Default x-forwarded-for.
	ClientIPHeader string `yaml:"client_ip_header" want:"a header's name"`
	// How many addresses from the right of client_ip_header the client's stands, at most 32, for a chain of proxies whose number
	// is known and whose addresses are not. It counts for requests from trusted_proxies alone; where the header has fewer
	// addresses, the client is the peer. Hazard: with one too many, clients choose their own address. Default 0: the
	// addresses are compared with trusted_proxies.
	TrustedHops int `yaml:"trusted_hops"`
	// What the trusted proxies may say besides the client's address: proto (X-Forwarded-Proto), host (X-Forwarded-Host) and
	// port (X-Forwarded-Port), of which the last value counts; with client_ip_header: forwarded, the proto and host of
	// Forwarded instead. The host chooses the route, too. Hazard: many balancers pass on the X-Forwarded-Host that a
	// client wrote, so name host only where yours sets it. [] believes none. Default proto.
	TrustForwarded []ForwardedFact `yaml:"trust_forwarded"`
	// The scheme that clients use where no trusted proxy says it: https behind a balancer that ends TLS and sends no
	// X-Forwarded-Proto. Default: what the connection is.
	PublicScheme Scheme `yaml:"public_scheme"`
	// How many leading bits of an IPv6 address make one client, from 32 to 128. Default 64:
	// whoever has one IPv6 address usually has its whole /64.
	IPv6Prefix int `yaml:"ipv6_prefix"`
	// Certificate and key. With it all listen addresses speak TLS and HTTP/2. Default: none, plain HTTP.
	TLS *ServerTLS `yaml:"tls"`
	// Protocols that clients may speak: http1, http2 (over TLS only), h2c (HTTP/2
	// without TLS, by prior knowledge). Default [http1, http2].
	Protocols []ServerProtocol `yaml:"protocols"`
	// Whether routes match without regard to case. A route may say otherwise. Default false.
	IgnoreCase bool `yaml:"ignore_case"`
	// The largest request body; 413 above it. A route may say otherwise. 0 is no bound. Default 10MiB.
	MaxBody int64 `yaml:"max_body" config:"size"`
	// The largest sum of request line and headers; 431 above it. Default 64KiB.
	MaxHeaderBytes int64 `yaml:"max_header_bytes" config:"size"`
	// How long a client may take to send its request's headers, and to complete a TLS handshake; at most 5m. Default 10s.
	ReadHeaderTimeout time.Duration `yaml:"read_header_timeout"`
	// How long an idle keep-alive connection is kept; at least 1s. Default 2m.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// The bytes per second below which a request's body comes too slowly; 408 then. A client may fall behind by 10s,
	// so that it may also pause as long, and only the time that the gateway waits for it counts. It does not hold for gRPC.
	// Hazard: with 0, which is no bound, a client may take for ever over its body. Default 1KiB.
	MinBodyRate int64 `yaml:"min_body_rate" config:"size"`
	// How long the gateway waits for a request's body, all of it; 408 then. Hazard: it cuts off large uploads over slow lines,
	// which min_body_rate does not. It does not hold for gRPC. 0s is no bound. Default 0s.
	BodyTimeout time.Duration `yaml:"body_timeout"`
	// How long a client may take nothing of its answer before its connection is closed; at least 1s.
	// An answer that has nothing to send does not count. Over HTTP/2 an answer that is taken at less than 64 bytes a second
	// has this time in all, and it is the answer that is cut off. 0s is no bound. Default 1m.
	WriteTimeout time.Duration `yaml:"write_timeout"`
	// The folder of the files into which bodies go that do not fit into memory, see an upstream's buffer. They have
	// no name and mode 0600. Default: the system's temporary folder.
	SpoolDir string `yaml:"spool_dir" config:"path" want:"a path"`
	// How many connections clients may have together, over all addresses of listen. One more takes the place of a keep-alive connection that has been
	// idle for longest; where all have something under way, it is closed at once. Hazard: each may need a connection to an
	// app server besides, and all of them are descriptors (ulimit -n). Default 0: half of the descriptors, but for a reserve of 256 at most.
	MaxConnections int `yaml:"max_connections"`
	// How many connections one client address may hold at once, by its ipv6_prefix.
	// Those of trusted proxies are not counted. 0 is no bound. Default 0.
	MaxConnectionsPerIP int `yaml:"max_connections_per_ip"`
	// How many requests an HTTP/2 connection may have in flight, from 1 to 10000; a client waits with the next one. A request
	// that the client has cancelled counts until its app server has answered. Default 100.
	MaxStreams int `yaml:"max_streams"`
	// How long after SIGTERM the gateway goes on as before, but with /readyz at 503 and every answer
	// telling its connection to end, so that load balancers notice and no request is lost. It is part of
	// shutdown_grace. HAProxy needs its inter times fall, Kubernetes about 5s. Default 0s.
	ShutdownDelay time.Duration `yaml:"shutdown_delay"`
	// How long requests in flight may go on after SIGTERM before they are cut off. Default 30s.
	ShutdownGrace time.Duration `yaml:"shutdown_grace"`
	// The access log: where its lines go, or {path: .., format: .., mask: [password], fields: ..}. Default stdout.
	AccessLog AccessLog `yaml:"access_log"`
	// The gateway's own log, on stderr.
	Log Log `yaml:"log"`
	// Which rate limit headers clients get: draft (RateLimit and RateLimit-Policy of
	// draft-ietf-httpapi-ratelimit-headers-10), legacy (X-RateLimit-*), or off. Default draft.
	RateLimitHeaders ratelimit.HeaderStyle `yaml:"rate_limit_headers"`
}

// AccessLog is the log of requests.
type AccessLog struct {
	// Where the lines go: stdout, stderr, off, or a file's path. A file that is renamed is made anew within a second, on SIGUSR1 and
	// SIGHUP at once. Default stdout.
	Path string `yaml:"path" config:"self,path=stdout|stderr|off" want:"stdout, off or a path"`
	// Query parameters whose values are *** in the log, in the request's target, in the Referer and in errors. Names compare decoded, and in any
	// case. What is forwarded is not changed. The gateway's own log hides them too. Hazard: a part of the path is never hidden. Default none.
	Mask []string `yaml:"mask"`
	// What a line is: json, or combined as Apache and nginx write it. Default json.
	Format AccessLogFormat `yaml:"format"`
	// Which fields a line has.
	Fields AccessLogFields `yaml:"fields"`
}

// AccessLogFields says which fields a line of the access log has.
type AccessLogFields struct {
	// Fields besides, in JSON: header:NAME for a header of the request (header:X-Tenant becomes header_x_tenant), trace_id and span_id
	// for those of its traceparent. Default none.
	Add []string `yaml:"add"`
	// Fields that are left out; in combined a dash stands in their place. time, status, bytes and duration_ms stay. Hazard: a replay knows
	// nothing of what is left out. Default none.
	Drop []AccessLogField `yaml:"drop"`
}

// Log is the gateway's own log.
type Log struct {
	// The least level of the lines: debug, info, warn or error. Default info.
	Level LogLevel `yaml:"level"`
	// What a line is: text, as key=value, or json. It can't change in a running gateway. Default text.
	Format LogFormat `yaml:"format"`
}

// Memory bounds what the gateway keeps in its own memory.
type Memory struct {
	// The counters of rate limits in this process: all of them without Redis, and with it those of an outage. What is
	// remembered of denials and bans takes up to half as much besides. About 320,000 counters fit into 64MiB. Each limit
	// has an equal share, and may take more while others leave theirs unused: counters of one limit never push out those of another that
	// keeps to its share. Hazard: when it is full, counters that still count are dropped, those farthest from their limit
	// first and those that deny last, and their clients start afresh; the log and headgate_limit_counters_dropped_total
	// tell. Default: a 16th of what the machine, the container or GOMEMLIMIT gives the gateway, from 16MiB to 1GiB.
	Counters int64 `yaml:"counters" config:"size"`
	// Cached answers in this process: all of them without Redis, and with it those that are answered without asking it.
	// Answers on their way into the cache take up to a quarter as much besides, and 16MiB at least. Each rule of caches that has
	// stored something has an equal share, and may take more while others leave theirs unused. Default: a 16th of what the
	// machine, the container or GOMEMLIMIT gives the gateway, from 16MiB to 1GiB.
	Cache int64 `yaml:"cache" config:"size"`
	// All bodies that are read ahead of slow clients, together, and 4KiB for each beyond it. What does not fit goes to files,
	// as an upstream's buffer says. Default 256MiB.
	Buffers int64 `yaml:"buffers" config:"size"`
}

// Admin is the listener for operators.
type Admin struct {
	// Address of the admin listener, or off for none. Default "127.0.0.1:9901".
	Listen string `yaml:"listen"`
	// Bearer token that guards everything but /livez and /readyz. Off loopback it is required. A request to a cached route that carries it in Headgate-Cache-Bypass goes past the cache to the app. Default: none.
	Token string `yaml:"token" config:"secret" want:"a secret"`
	// A file that holds the token, instead of token.
	TokenFile string `yaml:"token_file" config:"path" want:"a path"`
}

// ServerTLS names the certificate that clients see. The files are read again when they change.
type ServerTLS struct {
	// The certificate and its chain, PEM. Required.
	CertFile string `yaml:"cert_file" config:"path" want:"a path" required:"name the file of the certificate and its chain"`
	// Its private key, PEM. Required.
	KeyFile string `yaml:"key_file" config:"path" want:"a path" required:"name the file of the certificate's private key"`
}

// PurgeMethod says who may purge what is cached by the method PURGE, as plug-ins of content management systems do. A
// request purges its URL, with its query, of http and https and of its own Host alone, and is answered 204 once that is in force on every instance,
// 503 where that is not known yet. A path that ends in /.* without a query purges all below it. No route takes the request, and the limits of defaults count it.
type PurgeMethod struct {
	// Networks of the clients that may purge, by the address that limits go by; others get 403. Required. Hazard: behind a balancer
	// that is not in trusted_proxies all clients have its address, so that private networks need trusted_proxies or direct.
	Allow []netip.Prefix `yaml:"allow" config:"loosens" required:"name the networks of those who may purge"`
	// Whether clients reach this gateway directly, so that a private address is no balancer's: then allow may have private networks without
	// trusted_proxies. Hazard: if a balancer comes to stand before the gateway, all its clients may purge. Default false.
	Direct bool `yaml:"direct" config:"loosens"`
}

// Client is someone who calls with an API key.
type Client struct {
	// SHA-256 of the API key, 64 hexadecimal digits: printf %s "$KEY" | sha256sum.
	// A list lets an old and a new key work side by side. Required.
	KeySHA256 []string `yaml:"key_sha256" required:"make it with: printf %s \"$KEY\" | sha256sum"`
	// The plan that the client is on; limits give plans numbers of their own. Default: none.
	Plan string `yaml:"plan"`
}
