package policies

import (
	"net/netip"
	"time"

	"github.com/headgate/headgate/middleware/compress"
	"github.com/headgate/headgate/middleware/session"
)

// Route says which requests it takes, and what happens to them. Exactly one of upstream,
// redirect and respond answers.
type Route struct {
	// A name of your own: for limits by route, logs, metrics and explain. Default: its methods and path.
	Name string `yaml:"name"`
	// A group whose settings this route has. Default: none.
	Group string `yaml:"group"`
	// The path: /exact, /users/:id (one segment), /files/* (and /files itself), /assets/*.css (at any depth below /assets) or *.php
	// (anywhere); one or a list. A trailing slash is ignored in matching, and the path is normalised before it. Of the routes that fit
	// a request the most specific one takes it: by host (exact, then the longest wildcard, then none), by path (from the left, a static
	// segment over a :param over a *, and of those the longest suffix first), by method (named over any), by how much match asks for, by order
	// in the file. So /admin/* goes before *.php. Required.
	Path []string `yaml:"path" required:"write path: /* for all"`
	// Methods. GET includes HEAD. Default: any, known or not.
	Methods []string `yaml:"methods"`
	// What else a request must have. Default: nothing.
	Match Conditions `yaml:"match"`
	// Tags that are purged on every instance, before the client gets its answer, when an unsafe
	// request (POST, PUT, PATCH, DELETE) succeeds here; one or a list. Default: none.
	Purge []string `yaml:"purge"`
	// Answer with a redirect, instead of an upstream.
	Redirect *Redirect `yaml:"redirect"`
	// Answer with a fixed response, instead of an upstream.
	Respond *Respond `yaml:"respond"`

	Settings `yaml:",inline"`

	ownLimits []string // as written, without those that are inherited
}

// Settings is what a route may also get from its group or from defaults.
type Settings struct {
	// Host names, exact or *.example.com (one sub-domain or several, not the domain itself); one or a list.
	// Ports are ignored. Default: any host.
	Host []string `yaml:"host"`
	// The upstream that answers.
	Upstream string `yaml:"upstream"`
	// Limits by name that must all admit the request; one or a list, or off. Those of defaults and group
	// come first, and off drops them. Default: none.
	Limits []string `yaml:"limits" config:"off,tightens"`
	// The cache rule by name, or off. Default: off, nothing is cached.
	Cache string `yaml:"cache" config:"off" want:"a cache's name or off"`
	// The queue by name, or off: the client gets 202, and the app the request when there is room. {name: images, when: asked}
	// leaves it to the client. Not on login and logout routes; on a route with a cache only with when: asked. Default: off.
	Queue RouteQueue `yaml:"queue" config:"off" want:"a queue's name or off"`
	// Sessions: off; optional (the app sees it when there is one); required (else 303 to login_path, or 401); login (the app
	// may log users in); logout (the session ends whatever the app answers; a prefetch, and a request that another site makes, are 403). Default off.
	Session session.Mode `yaml:"session"`
	// Protection from cross-site requests on this route: on or off. Default on, unless session.csrf is off. Hazard: off lets
	// other sites act in a logged-in user's name here.
	CSRF bool `yaml:"csrf" config:"switch,protects"`
	// Whether a known API key is needed: optional, or required (else 401). Default optional.
	Client ClientRule `yaml:"client"`
	// How long the upstream may take to its response's headers; 504 after it. 0 is no bound. Default: as the upstream says.
	Timeout time.Duration `yaml:"timeout" config:"none"`
	// How long the upstream may be silent within a response's body; then the client is cut off. Written here, it is for event streams too.
	// 0 is no bound. Default: as the upstream says.
	ReadTimeout time.Duration `yaml:"read_timeout" config:"none"`
	// Whether requests and answers are read ahead of slow clients, as the upstream's buffer says: on or off. Hazard: with off a slow
	// client holds a server's connection. It is for apps that answer while they still read the request. Default on.
	Buffer bool `yaml:"buffer" config:"switch"`
	// The largest request body; 413 above it. 0 is no bound. Default: as server.max_body says.
	MaxBody int64 `yaml:"max_body" config:"size,bound"`
	// Whether the static segments of the route's path match without regard to case, those of strip_prefix as well: for apps that
	// serve /Login as /login. The path is forwarded as it was sent. Default false, unless server.ignore_case is true.
	IgnoreCase bool `yaml:"ignore_case"`
	// What becomes of a path with an encoded slash or backslash (%2F, %5C): refuse (400), or keep, which forwards it as it was sent.
	// In matching it is part of its segment either way. Hazard: with keep, an app server that decodes the path before it routes (WSGI,
	// nginx) serves /admin%2Fx as /admin/x, past the route of /admin/*. Default refuse.
	EncodedSlashes EncodedSlashes `yaml:"encoded_slashes"`
	// Removed from the front of the path before forwarding: with /api, /api/x becomes /x. Default: nothing.
	StripPrefix string `yaml:"strip_prefix"`
	// The path that is forwarded instead. :name and a last * stand for what they matched in the route's
	// path: with path /u/:id/*, rewrite /users/:id/*. It has the placeholders of redirect.to, but for {uri} and {query}: /tenants/{host}{path}. A
	// value that is no segment of a path (empty, dots, with a slash) is 400. Not together with strip_prefix. Default: the request's own.
	Rewrite string `yaml:"rewrite"`
	// Changes to the headers that the upstream sees. Default: none.
	RequestHeaders HeaderRules `yaml:"request_headers"`
	// Changes to the headers that the client sees. Default: none.
	ResponseHeaders HeaderRules `yaml:"response_headers"`
	// Whether the upstream sees the client's Host, rather than its own URL's. Default true.
	PreserveHost bool `yaml:"preserve_host"`
	// Whether answers are compressed with br, zstd or gzip, as the client's Accept-Encoding has it: on, off, or what differs from on. What is
	// cached is stored as the app sends it, asked for identity, and each encoding is made once, for all hits. Default: off.
	Compress *compress.Compression `yaml:"compress"`
	// Which other origins' scripts may call this route. The gateway then answers preflights itself,
	// and its headers replace the app's. Default: off, the app answers for itself.
	CORS *CORS `yaml:"cors"`
	// Answer 503 while work goes on. Default: off.
	Maintenance *Maintenance `yaml:"maintenance"`
}

// Conditions are what a request must have besides host, path and method: all of it.
type Conditions struct {
	// A regular expression (RE2) that the path matches, besides the route's own path: ^/img/[0-9]+\.(jpg|png)$. It is for the escaped
	// path in its normal form, without its segments' ;parameters and a slash at the end, and it is not anchored. Hazard: without ^ and $ it
	// matches anywhere in the path. Where the route ignores case, the expression does, too.
	PathRegex string `yaml:"path_regex"`
	// The scheme by which the client came: http or https; what trusted proxies say of it counts. Default: both.
	Scheme Scheme `yaml:"scheme"`
	// Request headers and the exact value that one of their lines has, or present for any value.
	Headers map[string]string `yaml:"headers"`
	// Cookies by name and the exact value that one of them has, or present for any value.
	Cookies map[string]string `yaml:"cookies"`
	// Query parameters and the exact value that one of them has.
	Query map[string]string `yaml:"query"`
	// Networks, one of which the client's address is in; one or a list.
	ClientIP []netip.Prefix `yaml:"client_ip"`
	// Plans, one of which the client is on whose API key the request carries; one or a list. A user's plan, which the app names by
	// Headgate-Plan, does not count: it is known after the route. Hazard: a client without a known key matches no such route.
	Plan []string `yaml:"plan"`
}

// HeaderRules change headers: first remove, then set, then add. Values have the placeholders of redirect.to, as they are but for octets that
// headers can't have, which are escaped: X-Real-IP: "{client_ip}", X-Forwarded-Prefix: /shop, X-Forwarded-Port: "{port}".
type HeaderRules struct {
	// Headers that get this value, whatever they had.
	Set map[string]string `yaml:"set" config:"headers"`
	// Header lines that are added to what is there.
	Add map[string]string `yaml:"add" config:"headers"`
	// Headers that go.
	Remove []string `yaml:"remove"`
}

// Redirect answers with a Location.
type Redirect struct {
	// An absolute URL or a local path. :name and a last * in its path stand for what they matched in the
	// route's path. Placeholders stand for the request: {scheme}, {host} (without port), {port}, {path}, {query}, {uri} (path and query),
	// {query:NAME}, {param:NAME}, {client_ip}, {request_id}, {user}; a literal { before a name is {{. Each is escaped for its place, and the
	// host is {host} or written out: https://{host}{uri}. The request's query is kept unless this has one of its own. Hazard: {host} is what
	// the client asked for; with host on the route it is one of yours. Required.
	To string `yaml:"to" required:"write where to, like https://example.com/*"`
	// 301, 302, 303, 307 or 308. Default 302.
	Status int `yaml:"status"`
}

// Respond answers with the same response every time.
type Respond struct {
	// The status, 200 to 599. Default 200.
	Status int `yaml:"status"`
	// The body. Default "".
	Body string `yaml:"body"`
	// The body's media type. Default "text/plain; charset=utf-8".
	ContentType string `yaml:"content_type"`
}

// CORS says which cross-origin requests browsers may make (the Fetch standard, section 3.2).
type CORS struct {
	// Origins: https://app.example.com, https://*.example.com, or "*" for any; one or a list. Required.
	AllowOrigins []string `yaml:"allow_origins" required:"list the origins whose scripts may call, like https://app.example.com"`
	// Methods. Default [GET, HEAD, POST].
	AllowMethods []string `yaml:"allow_methods"`
	// Request headers. Default: none beyond those that need no permission.
	AllowHeaders []string `yaml:"allow_headers"`
	// Response headers that scripts may read, besides Retry-After and the RateLimit fields of the gateway's own refusals.
	// Default: none beyond those that need no permission.
	ExposeHeaders []string `yaml:"expose_headers"`
	// Whether cookies may go along; not with the origin "*". Default false.
	AllowCredentials bool `yaml:"allow_credentials"`
	// How long a browser may remember the answer to a preflight. Default 10m.
	MaxAge time.Duration `yaml:"max_age"`
}

// Maintenance answers 503 to everybody but a few.
type Maintenance struct {
	// Networks that get through all the same. Default: none.
	Allow []netip.Prefix `yaml:"allow"`
	// When clients are told to come back. Default 5m.
	RetryAfter time.Duration `yaml:"retry_after"`
	// What browsers are shown, as HTML. Default: a short page of the gateway's own.
	Body string `yaml:"body"`
}
