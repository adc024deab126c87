package policies

import (
	"reflect"
	"strconv"
	"strings"
	"time"
)

// All defaults stand in this file. Those that depend on nothing else are set
// before a value is decoded, so that what the file says replaces them;
// resolveDefaults sets those that depend on the rest of the policy afterwards.

type defaulter interface{ setDefaults() }

// withDefaults makes a new value for a pointer type.
func withDefaults(pointer reflect.Type) reflect.Value {
	v := reflect.New(pointer.Elem())
	if d, ok := v.Interface().(defaulter); ok {
		d.setDefaults()
	}
	return v
}

func (p *Policy) setDefaults() {
	p.Server.setDefaults()
	p.Redis.setDefaults()
	p.Session.setDefaults()
	p.Defaults.setDefaults()
}

func (s *Server) setDefaults() {
	*s = Server{
		Listen:            Strings{":8080"},
		ClientIPHeader:    XForwardedFor,
		IPv6Prefix:        64,
		Protocols:         []ServerProtocol{ServerHTTP1, ServerHTTP2},
		MaxBody:           10 << 20,
		MaxHeaderBytes:    64 << 10,
		ReadHeaderTimeout: seconds(10),
		IdleTimeout:       seconds(120),
		ShutdownGrace:     seconds(30),
		AccessLog:         AccessLogStdout,
		RateLimitHeaders:  HeadersDraft,
	}
	s.Admin.setDefaults()
}

func (a *Admin) setDefaults() { *a = Admin{Listen: "127.0.0.1:9901"} }

func (r *Redis) setDefaults() {
	*r = Redis{Timeout: Duration(100 * time.Millisecond), KeyPrefix: "headgate:"}
}

func (u *Upstream) setDefaults() {
	*u = Upstream{
		Balance:        RoundRobin,
		Ejection:       &Ejection{},
		ConnectTimeout: seconds(5),
		Timeout:        seconds(30),
		IdleTimeout:    seconds(4),
		Retries:        1,
		RetryBudget:    0.2,
		Protocol:       UpstreamAuto,
	}
	u.Ejection.setDefaults()
}

func (s *UpstreamServer) setDefaults() { *s = UpstreamServer{Weight: 1} }

func (h *HealthCheck) setDefaults() {
	*h = HealthCheck{Path: "/healthz", Interval: seconds(2), Timeout: seconds(1), HealthyAfter: 2, UnhealthyAfter: 3}
}

func (e *Ejection) setDefaults() { *e = Ejection{Failures: 5, For: seconds(10)} }

func (l *Limit) setDefaults() {
	*l = Limit{
		Algorithm:    SlidingWindow,
		Key:          Strings{"ip"},
		Count:        Count{Mode: CountAll},
		Cost:         1,
		OnRedisError: OnErrorLocal,
	}
}

func (c *Cache) setDefaults() { *c = Cache{MaxBody: 1 << 20} }

func (s *Session) setDefaults() {
	*s = Session{
		IdleTimeout:     seconds(30 * 60),
		AbsoluteTimeout: seconds(12 * 60 * 60),
		RotateEvery:     seconds(60 * 60),
		MaxPerUser:      10,
		LoginPath:       "/login",
		CSRF:            &CSRF{},
	}
	s.Cookie.setDefaults()
}

func (k *Cookie) setDefaults() { *k = Cookie{SameSite: SameSiteLax, Secure: true, Path: "/"} }

func (a *Assertion) setDefaults() { *a = Assertion{TTL: seconds(60)} }

func (r *Route) setDefaults() { r.Settings.setDefaults() }

func (s *Settings) setDefaults() {
	*s = Settings{Session: SessionOff, CSRF: true, Client: ClientOptional, PreserveHost: true}
}

func (r *Redirect) setDefaults() { *r = Redirect{Status: 302} }

func (r *Respond) setDefaults() {
	*r = Respond{Status: 200, ContentType: "text/plain; charset=utf-8"}
}

func (c *CORS) setDefaults() {
	*c = CORS{AllowMethods: Strings{"GET", "HEAD", "POST"}, MaxAge: seconds(600)}
}

func (m *Maintenance) setDefaults() { *m = Maintenance{RetryAfter: seconds(300)} }

func seconds(n int) Duration { return Duration(time.Duration(n) * time.Second) }

// resolveDefaults sets the defaults that depend on other values.
func resolveDefaults(p *Policy, s *source) {
	for name, l := range p.Limits {
		if l.Algorithm == TokenBucket && !s.has(join("limits", name, "burst")) {
			l.Burst = l.Requests
		}
	}
	if c := &p.Session.Cookie; c.Name == "" {
		c.Name = "session"
		if c.Secure && c.Domain == "" && c.Path == "/" {
			c.Name = "__Host-session"
		}
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
		if p.Session.CSRF == nil && !saysSetting(p, s, i, "csrf") {
			r.CSRF = false
		}
		if !saysSetting(p, s, i, "max_body") {
			r.MaxBody = p.Server.MaxBody
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
