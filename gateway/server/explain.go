package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/policies"
)

// Explanation says what would become of a request, from the parts that serve
// requests: the normaliser, the matcher, the counters and the rules.
type Explanation struct {
	Method string `json:"method"`
	Host   string `json:"host"` // normalised, as the app server would see it
	Path   string `json:"path"` // normalised, as it is matched and forwarded
	Query  string `json:"query,omitempty"`
	Client string `json:"client_ip"`
	// Refused is why the gateway answers itself with Status.
	Refused string `json:"refused,omitempty"`
	Status  int    `json:"status,omitempty"`

	Route    string           `json:"route,omitempty"`
	Pattern  string           `json:"pattern,omitempty"`
	Others   []OtherRoute     `json:"other_routes,omitempty"`
	APIKey   string           `json:"api_client,omitempty"` // the client whose key it carries
	Limits   []ExplainedLimit `json:"limits,omitempty"`
	Session  string           `json:"session,omitempty"`
	Cache    string           `json:"cache,omitempty"`     // the rule
	CacheKey []string         `json:"cache_key,omitempty"` // what the key is made of, in order
	Answer   string           `json:"answered_by,omitempty"`
	Forward  string           `json:"forwarded_as,omitempty"` // the path, where it is another
	Servers  []string         `json:"servers,omitempty"`
}

// OtherRoute is a route that was not the one.
type OtherRoute struct {
	Route   string `json:"route"`
	Pattern string `json:"pattern"`
	Why     string `json:"why"`
}

// ExplainedLimit is a limit and what remains of it for the request's key.
type ExplainedLimit struct {
	Name       string   `json:"name"`
	Algorithm  string   `json:"algorithm"`
	Window     string   `json:"window"`
	KeyedBy    []string `json:"keyed_by"`
	Key        []string `json:"key,omitempty"`
	Requests   int64    `json:"requests,omitempty"`
	Remaining  int64    `json:"remaining"`
	Admits     bool     `json:"admits"`
	RetryAfter int64    `json:"retry_after_seconds,omitempty"`
	Banned     bool     `json:"banned,omitempty"`
	DryRun     bool     `json:"dry_run,omitempty"`
	From       string   `json:"counted_in,omitempty"` // redis or memory
	// Unknown is why what remains is not known, or why the limit does not apply.
	Unknown string `json:"unknown,omitempty"`
}

// errQuestion is a question that is not a request.
var errQuestion = errors.New("cannot be explained")

// Explain says what the running policy does with a request, and consumes
// nothing. It may be asked without Start.
func (s *Server) Explain(ctx context.Context, q admin.Question) (*Explanation, error) {
	gen := s.current.Load()
	u, err := url.Parse(q.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: the URL: %w", errQuestion, err)
	}
	addr := netip.MustParseAddr("192.0.2.1") // TEST-NET-1, RFC 5737: nobody
	if q.IP != "" {
		if addr, err = netip.ParseAddr(q.IP); err != nil {
			return nil, fmt.Errorf("%w: the address: %w", errQuestion, err)
		}
		addr = addr.Unmap().WithZone("")
	}
	scheme := u.Scheme
	if scheme == "" {
		scheme = "http"
	}
	e := &Explanation{Method: strings.ToUpper(q.Method), Client: addr.String(), Query: u.RawQuery}
	if e.Method == "" {
		e.Method = http.MethodGet
	}
	host, err := httpx.NormalizeHost(u.Host, scheme)
	if err != nil {
		e.Status, e.Refused = http.StatusBadRequest, "the host is not a host name or address"
		return e, nil
	}
	path, err := httpx.NormalizePath(httpx.RawPath(u))
	if err != nil {
		e.Status, e.Refused = http.StatusBadRequest, "the path is malformed, or could be read as another one"
		return e, nil
	}
	e.Host, e.Path = host.Authority, path.RawPath

	header := q.Header.Clone()
	match, attempts := gen.matcher.Explain(&policies.Request{
		Host: host.Name, Path: path.RawPath, Method: e.Method, Header: header, RawQuery: u.RawQuery, ClientIP: addr,
	})
	for _, a := range attempts {
		if a.Why != "" {
			e.Others = append(e.Others, OtherRoute{gen.routes[a.Index].name, a.Pattern, a.Why})
		}
	}
	switch match.Outcome {
	case policies.NotFound:
		e.Status, e.Refused = http.StatusNotFound, "no route fits"
		return e, nil
	case policies.MethodNotAllowed:
		e.Status, e.Refused = http.StatusMethodNotAllowed, "a route's path fits, but no method: "+strings.Join(match.Allow, ", ")
		return e, nil
	}
	rt := gen.routes[match.Index]
	e.Route, e.Pattern = rt.name, match.Pattern()
	rt.explainClient(e, header)
	rt.explainLimits(ctx, e, ratelimit.Request{
		Addr: addr, Bucket: gen.resolver.Bucket(addr), Route: rt.name, Method: e.Method, Host: host.Name, Header: header,
		Subject: ratelimit.Subject{Client: e.APIKey, Plan: gen.planOf(e.APIKey), User: q.User, Session: q.Session},
	})
	rt.explainSession(e)
	rt.explainCache(e, scheme, &url.URL{Path: path.Path, RawPath: path.RawPath, RawQuery: u.RawQuery}, header)
	rt.explainAnswer(e, match)
	return e, nil
}

// explainClient says whose API key the request carries.
func (rt *route) explainClient(e *Explanation, h http.Header) {
	if c := rt.gen.clients.identify(h); c != nil {
		e.APIKey = c.name
	} else if rt.policy.Client == policies.ClientRequired {
		e.Status, e.Refused = http.StatusUnauthorized, "the route needs a known API key"
	}
}

func (g *generation) planOf(client string) string {
	if c := g.policy.Clients[client]; c != nil {
		return c.Plan
	}
	return ""
}

// explainLimits looks at the counters as they are.
func (rt *route) explainLimits(ctx context.Context, e *Explanation, r ratelimit.Request) {
	if rt.limiter == nil {
		return
	}
	previews, err := rt.limiter.Peek(ctx, &r)
	for _, name := range rt.policy.Limits {
		p := rt.gen.policy.Limits[name]
		l := ExplainedLimit{
			Name: name, Algorithm: string(p.Algorithm), Window: p.Window.String(), KeyedBy: p.Key,
			Requests: int64(p.Requests), DryRun: p.DryRun, Unknown: "this client is in the limit's allow list",
		}
		if err != nil {
			l.Unknown = err.Error()
		}
		for _, v := range previews {
			if v.Name != name {
				continue
			}
			l.Key, l.Requests, l.Remaining, l.Admits, l.Banned = v.Key, v.Limit, v.Remaining, v.Allowed, v.Banned
			l.From, l.Unknown = string(v.Source), ""
			if !v.Allowed {
				l.RetryAfter = ratelimit.Seconds(v.RetryAfter)
			}
			if !v.Allowed && !v.DryRun && e.Status != http.StatusTooManyRequests {
				// Limits decide before everything that may already be said.
				e.Status, e.Refused = http.StatusTooManyRequests, "limit "+name+" denies"
			}
		}
		e.Limits = append(e.Limits, l)
	}
}

// explainSession says what the route's rule asks of a session.
func (rt *route) explainSession(e *Explanation) {
	login := rt.gen.policy.Session.LoginPath
	switch rt.policy.Session {
	case policies.SessionOff:
		e.Session = "off: a session cookie is ignored, and not forwarded"
	case policies.SessionOptional:
		e.Session = "optional: the app sees a session where there is one"
	case policies.SessionRequired:
		e.Session = "required: without a user's session, browsers get 303 to " + login + ", others 401"
	case policies.SessionLogin:
		e.Session = "login: the app may log a user in"
	case policies.SessionLogout:
		e.Session = "logout: the session ends, whatever the app answers"
	}
}

// explainCache says by what the request would be looked up.
func (rt *route) explainCache(e *Explanation, scheme string, u *url.URL, h http.Header) {
	rule, ok := rt.gen.caches[rt.policy.Cache]
	if !ok {
		return
	}
	e.Cache = rule.Name
	if e.Method == http.MethodGet || e.Method == http.MethodHead {
		e.CacheKey = rule.KeyParts(rt.policy.Upstream, scheme, e.Host, u, h)
	}
}

// explainAnswer says who answers.
func (rt *route) explainAnswer(e *Explanation, m policies.Match) {
	switch p := rt.policy; {
	case rt.maintenance != nil && !rt.maintenance.lets(netip.MustParseAddr(e.Client)):
		e.Status, e.Refused = http.StatusServiceUnavailable, "the route is in maintenance"
	case p.Redirect != nil:
		e.Answer = fmt.Sprintf("redirect %d to %s", p.Redirect.Status, m.Expand(p.Redirect.To))
	case p.Respond != nil:
		e.Answer = fmt.Sprintf("fixed response %d", p.Respond.Status)
	default:
		e.Answer = "upstream " + p.Upstream
		for _, s := range rt.gen.configs[p.Upstream].Servers {
			e.Servers = append(e.Servers, s.URL)
		}
		if path := rt.forwardedPath(e.Path, m); path != e.Path {
			e.Forward = path
		}
	}
}
