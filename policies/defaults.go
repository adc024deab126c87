package policies

import (
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/yamlnode"
	"github.com/headgate/headgate/middleware/clientip"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
)

// All defaults of the gateway's own sections stand in this file. Those that depend on nothing else are set
// before a value is decoded, so that what the file says replaces them;
// resolveDefaults sets those that depend on the rest of the policy afterwards.

// SetDefaults fills in what depends on nothing else.
func (p *Policy) SetDefaults() {
	p.Server.SetDefaults()
	p.Memory.SetDefaults()
	p.Redis.SetDefaults()
	p.Jobs.SetDefaults()
	p.Session.SetDefaults()
	p.Session.LoginPath = "/login" // an app with sessions need not have a login page; one behind a gateway has
	p.Defaults.SetDefaults()
}

func (s *Server) SetDefaults() {
	*s = Server{
		Listen:            []string{":8080"},
		ClientIPHeader:    clientip.DefaultHeader,
		TrustForwarded:    []ForwardedFact{ForwardedProto},
		IPv6Prefix:        64,
		Protocols:         []ServerProtocol{ServerHTTP1, ServerHTTP2},
		MaxBody:           10 << 20,
		MaxHeaderBytes:    64 << 10,
		ReadHeaderTimeout: seconds(10),
		MaxStreams:        100,
		IdleTimeout:       seconds(120),
		MinBodyRate:       1 << 10,
		WriteTimeout:      seconds(60),
		ShutdownGrace:     seconds(30),
		AccessLog:         AccessLog{Path: AccessLogStdout, Format: AccessLogJSON},
		Log:               Log{Level: LogInfo, Format: LogText},
		RateLimitHeaders:  ratelimit.HeadersDraft,
	}
	s.Admin.SetDefaults()
}

func (m *Memory) SetDefaults() { *m = Memory{Buffers: proxy.DefaultBuffers} }

func (a *Admin) SetDefaults() { *a = Admin{Listen: "127.0.0.1:9901"} }

func (r *Route) SetDefaults() { r.Settings.SetDefaults() }

func (s *Settings) SetDefaults() {
	*s = Settings{Queue: RouteQueue{When: QueueAlways}, Session: session.Off, CSRF: true, Buffer: true, Client: ClientOptional, EncodedSlashes: EncodedSlashesRefuse, PreserveHost: true}
}

func (r *Redirect) SetDefaults() { *r = Redirect{Status: 302} }

func (r *Respond) SetDefaults() {
	*r = Respond{Status: 200, ContentType: "text/plain; charset=utf-8"}
}

func (c *CORS) SetDefaults() {
	*c = CORS{AllowMethods: []string{"GET", "HEAD", "POST"}, MaxAge: seconds(600)}
}

func (m *Maintenance) SetDefaults() { *m = Maintenance{RetryAfter: seconds(300)} }

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// resolveDefaults sets the defaults that depend on other values.
func resolveDefaults(p *Policy, s *yamlnode.Source) {
	for name, l := range p.Limits {
		l.Name = name
	}
	for name, c := range p.Caches {
		c.Name = name
	}
	for name, q := range p.Queues {
		q.Name = name
	}
	for name, s := range p.Schedules {
		s.Name = name
	}
	p.Session.Cookie.ResolveName()
	if !s.Has("redis.write_timeout") {
		p.Redis.WriteTimeout = max(p.Redis.WriteTimeout, p.Redis.Timeout)
	}
	names := routeNames{used: map[string]bool{}, next: map[string]int{}}
	for _, r := range p.Routes {
		names.used[r.Name] = true
	}
	for i, r := range p.Routes {
		if r.Name == "" {
			r.Name = names.unused(defaultName(r))
		}
		if up := p.Upstreams[r.Upstream]; up != nil && !saysSetting(p, s, i, "timeout") {
			r.Timeout = up.Timeout
		}
		if p.Session.CSRF.Off && !saysSetting(p, s, i, "csrf") {
			r.CSRF = false
		}
		if !saysSetting(p, s, i, "max_body") {
			r.MaxBody = p.Server.MaxBody
		}
		if !saysSetting(p, s, i, "ignore_case") {
			r.IgnoreCase = p.Server.IgnoreCase
		}
	}
}

// defaultName is what a route is called that has no name: its methods, first host and first path.
func defaultName(r *Route) string {
	name := ""
	if len(r.Host) > 0 {
		name = r.Host[0]
	}
	if len(r.Path) > 0 {
		name += r.Path[0]
	}
	if len(r.Methods) > 0 {
		name = strings.Join(r.Methods, ",") + " " + name
	}
	return name
}

// routeNames keeps the names of routes apart.
type routeNames struct {
	used map[string]bool
	next map[string]int // the number after a name that the next one of it gets
}

func (n *routeNames) unused(name string) string {
	unused := name
	for n.used[unused] {
		n.next[name]++
		unused = name + " #" + strconv.Itoa(n.next[name]+1)
	}
	n.used[unused] = true
	return unused
}
