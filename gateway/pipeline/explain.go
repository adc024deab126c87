package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/policies"
)

// Question is a request to be explained.
type Question struct {
	Method, URL string
	IP          string // the peer's; the client's too, unless the peer is a trusted proxy and Header names another
	Header      http.Header
	// User and Session are whose live session the request carries, where the asker
	// knows; Session is its opaque reference. Without them, the request's own cookie is
	// looked up. Plan is the one that the app has put it on.
	User, Session, Plan string
	// Account is the one that the app will say was tried to log in to, where the asker knows.
	Account string
	// Body is the request's; of a QUERY, the cache's key has it.
	Body string
}

// ErrQuestion is a question that is not a request.
var ErrQuestion = errors.New("cannot be explained")

// Explanation says what would become of a request. Its lines are in the order of the
// stages.
type Explanation struct {
	Method string `json:"method"`
	Host   string `json:"host"` // normalised, as the app server would see it
	Path   string `json:"path"` // normalised, as it is matched and forwarded
	Query  string `json:"query,omitempty"`
	Client string `json:"client_ip"`
	// Refused is why the gateway answers itself, with Status. Both are empty where an
	// app server, or what is cached of one, answers.
	Refused string `json:"refused,omitempty"`
	Status  int    `json:"status,omitempty"`
	// Stage is the one that answers.
	Stage string `json:"stage,omitempty"`

	Denied   string           `json:"denied_network,omitempty"` // the network that refuses the client, and what says so
	Route    string           `json:"route,omitempty"`
	Pattern  string           `json:"pattern,omitempty"`
	Others   []OtherRoute     `json:"other_routes,omitempty"`
	APIKey   string           `json:"api_client,omitempty"` // the client whose key it carries
	Limits   []ExplainedLimit `json:"limits,omitempty"`
	Session  string           `json:"session,omitempty"`
	Cache    string           `json:"cache,omitempty"`        // the rule
	CacheKey []string         `json:"cache_key,omitempty"`    // what the key is made of, in order
	Bypass   string           `json:"cache_bypass,omitempty"` // why the request goes past the cache, as Cache-Status will say
	Compress string           `json:"compress,omitempty"`     // the encoding, or why there is none
	Queue    string           `json:"queue,omitempty"`        // of the route, and why the request does not become a job of it
	Answer   string           `json:"answered_by,omitempty"`
	Forward  string           `json:"forwarded_as,omitempty"` // the path, where it is another
	Servers  []string         `json:"servers,omitempty"`
	Backups  []string         `json:"backup_servers,omitempty"`
	Balance  string           `json:"balance,omitempty"` // how one is chosen, unless by round robin
	Retried  []string         `json:"retried,omitempty"` // the failures after which the request is retried, where the policy has a retry
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
	Window     string   `json:"window,omitempty"` // none where requests in flight are counted
	KeyedBy    []string `json:"keyed_by"`
	Key        []string `json:"key,omitempty"`
	Requests   int64    `json:"requests,omitempty"`
	Plan       string   `json:"plan,omitempty"`       // that Requests is for; empty: the limit's own
	Concurrent int64    `json:"concurrent,omitempty"` // in the place of Requests, where requests in flight are counted
	Burst      int64    `json:"burst,omitempty"`      // of a token bucket, where it is not Requests
	Remaining  int64    `json:"remaining"`
	Admits     bool     `json:"admits"`
	RetryAfter int64    `json:"retry_after_seconds,omitempty"`
	Banned     bool     `json:"banned,omitempty"`
	Closed     bool     `json:"closed,omitempty"` // it admits no requests at all
	Waits      bool     `json:"waits,omitempty"`  // it would wait for the answers to the requests that are counted by them
	DryRun     bool     `json:"dry_run,omitempty"`
	From       string   `json:"counted_in,omitempty"` // redis or memory
	// Unknown is why what remains is not known, or why the limit does not apply.
	Unknown string `json:"unknown,omitempty"`
}

// Explain says what the policy does with a request, and consumes nothing: it takes the
// request through the stages that serve it, on backends that only look. The error is
// ErrQuestion, or that of building the request.
func (p *Pipeline) Explain(ctx context.Context, q Question) (*Explanation, error) {
	r, err := p.question(ctx, q)
	if err != nil {
		return nil, err
	}
	e := &Explanation{Method: r.Method, Client: r.Info.Addr.String(), Query: r.Query}
	if !r.explain(p.every, e) || r.Route == nil {
		return e, nil
	}
	r.explain(r.Route.stages, e)
	return e, nil
}

// explain runs stages until one answers, and has all of them explain themselves. It
// reports whether none has answered.
func (r *Request) explain(stages []Stage, e *Explanation) bool {
	answered := false
	for i := range stages {
		if s := &stages[i]; !answered {
			if a := s.Run(r); a != nil {
				answered = true
				e.Status, e.Refused, e.Stage = a.Status, a.why(), s.Name
			}
		}
		if stages[i].Explain != nil {
			stages[i].Explain(r, e)
		}
	}
	return !answered
}

// why says in one line why the gateway gives the answer.
func (a *Answer) why() string {
	return strings.TrimSuffix(a.Detail, ".")
}

// question makes the request that is asked about.
func (p *Pipeline) question(ctx context.Context, q Question) (*Request, error) {
	u, err := url.Parse(q.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: the URL: %w", ErrQuestion, err)
	}
	addr := netip.MustParseAddr("192.0.2.1") // TEST-NET-1 of RFC 5737, which no client has
	if q.IP != "" {
		if addr, err = netip.ParseAddr(q.IP); err != nil {
			return nil, fmt.Errorf("%w: the address: %w", ErrQuestion, err)
		}
		addr = addr.Unmap().WithZone("")
	}
	header := q.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	r := new(Request)
	r.Begin(ctx, p, &peek{pipeline: p, who: session.Identity{User: q.User, Ref: q.Session, Plan: q.Plan}, account: q.Account})
	r.attempts = new([]policies.Attempt)
	r.Info = p.resolver.InfoFrom(addr, header)
	r.Method, r.Authority, r.Scheme, r.Query = strings.ToUpper(q.Method), u.Host, u.Scheme, u.RawQuery
	if hosts := header["Host"]; len(hosts) > 0 { // an empty one, too, is what the client sends
		r.Authority = hosts[0]
		header.Del("Host")
	}
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	if r.Scheme == "" {
		r.Scheme = "http"
	}
	if r.Target = httpx.RawPath(u); u.Opaque == "*" || u.Path == "*" {
		r.Target = "*"
	} else if r.Target == "" {
		r.Target = "/"
	}
	r.Header = header
	r.locate(addr)
	if n, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		r.ContentLength = n
	} else {
		r.ContentLength = int64(len(q.Body))
	}
	r.getBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(q.Body)), nil }
	return r, nil
}

func explainTarget(r *Request, e *Explanation) {
	if e.Host, e.Path = r.Authority, r.Path.RawPath; r.Denied.IsValid() {
		e.Path = r.rawPath() // it was not normalised
	}
}

// explainRoute says which route takes the request, and why the others do not.
func explainRoute(r *Request, e *Explanation) {
	for _, a := range *r.attempts {
		if a.Why != "" {
			e.Others = append(e.Others, OtherRoute{r.pipeline.routes[a.Index].Name, a.Pattern, a.Why})
		}
	}
	if r.Route != nil {
		e.Route, e.Pattern = r.Route.Name, r.Match.Pattern()
	}
}

func explainIdentity(r *Request, e *Explanation) {
	if r.Client != nil {
		e.APIKey = r.Client.Name
	}
}

// explainSession says what the route's rule asks of a session.
func explainSession(r *Request, e *Explanation) {
	login := r.pipeline.policy.Session.LoginPath
	switch r.Route.Policy.Session {
	case session.Off:
		e.Session = "off: a session cookie is ignored, and not forwarded"
	case session.Optional:
		e.Session = "optional: the app sees a session where there is one"
	case session.Required:
		e.Session = "required: without a user's session, browsers get 303 to " + login + ", others 401"
	case session.Login:
		e.Session = "login: the app may log a user in"
		if most := r.pipeline.policy.Session.Remember; most > 0 {
			e.Session += ", for up to " + policies.FormatDuration(most) + " by Headgate-Login-Lifetime"
		}
	case session.Logout:
		e.Session = "logout: the session ends, whatever the app answers"
	}
}

// explainLimits says what remains of each limit for the request.
func explainLimits(r *Request, e *Explanation) {
	b := r.backends.(*peek)
	for _, name := range r.Route.Policy.Limits {
		p := r.pipeline.policy.Limits[name]
		l := ExplainedLimit{
			Name: name, Algorithm: string(p.Algorithm), Window: p.Window.String(), KeyedBy: ratelimit.KeyWords(p.Key),
			Requests: int64(p.Requests), DryRun: p.DryRun, Unknown: "this client is in the limit's allow list",
		}
		if p.Concurrent > 0 {
			l.Algorithm, l.Window, l.Concurrent = "concurrent", "", p.Concurrent
		}
		switch {
		case p.ByAccount():
			l.Unknown = "it is asked when the app has answered, and by " + session.HeaderLoginAttempt + " said whose account was tried"
		case !b.asked:
			l.Unknown = "it is not asked"
		case b.err != nil:
			l.Unknown = b.err.Error()
		}
		for _, v := range b.previews {
			if v.Name == name {
				l.show(v)
			}
		}
		e.Limits = append(e.Limits, l)
	}
}

func (l *ExplainedLimit) show(v ratelimit.Preview) {
	l.Key, l.Plan, l.Remaining, l.Admits, l.Banned = v.Key, v.Plan, v.Remaining, v.Allowed, v.Banned
	if l.Concurrent > 0 {
		l.Concurrent = v.Requests
	} else {
		l.Requests = v.Requests
	}
	l.Closed = v.Closed
	l.Waits = v.Unsettled && !v.DryRun
	if v.Burst != v.Requests {
		l.Burst = v.Burst
	}
	l.From, l.Unknown = string(v.Source), ""
	if !v.Allowed {
		l.RetryAfter = ratelimit.Seconds(v.RetryAfter)
	}
}

// answerExplainer returns what says who answers on a route.
func answerExplainer(p *policies.Route) func(*Request, *Explanation) {
	switch {
	case p.Redirect != nil:
		return func(r *Request, e *Explanation) {
			e.Answer = fmt.Sprintf("redirect %d to %s", p.Redirect.Status, redirected(r))
		}
	case p.Respond != nil:
		return func(_ *Request, e *Explanation) { e.Answer = fmt.Sprintf("fixed response %d", p.Respond.Status) }
	}
	return explainForward
}

// explainForward says by what the request would be looked up in the cache, and which app
// servers answer.
func explainForward(r *Request, e *Explanation) {
	rt := r.Route
	r.takeOwnCookies()
	if rt.Policy.Cache != "" && rt.session.Mode != session.Logout {
		e.Cache = rt.Policy.Cache
		plan := r.CachePlan()
		if e.Bypass = plan.Detail; plan.Key != nil {
			e.CacheKey = plan.Key.Parts()
		}
	}
	e.Answer = "upstream " + rt.Policy.Upstream
	if u := r.pipeline.policy.Upstreams[rt.Policy.Upstream]; u != nil {
		for _, s := range u.Servers {
			if s.Backup {
				e.Backups = append(e.Backups, s.URL)
			} else {
				e.Servers = append(e.Servers, s.URL)
			}
		}
		r.explainChoice(u, e)
	}
	if path, err := r.forwardedPath(); err != nil {
		e.Forward = "none: 400, as what the route makes of the path could be read as another one"
	} else if path != r.Path {
		e.Forward = path.RawPath
	}
}

// redirected is where the policy's redirect leads, without the request's query.
func redirected(r *Request) string {
	to, err := r.inURL(r.Route.redirectTo)
	if err != nil {
		return "nowhere: " + err.Error()
	}
	return to
}

// explainChoice says how a server is chosen, and another after a failure.
func (r *Request) explainChoice(u *proxy.Config, e *Explanation) {
	switch u.Balance {
	case proxy.RoundRobin:
	case proxy.Cookie:
		e.Balance = "cookie " + u.AffinityCookieName(r.Route.Policy.Upstream)
	default:
		e.Balance = string(u.Balance)
	}
	if !u.Retry.IsDefault() {
		for _, on := range u.Retry.For(r.asHTTP()) {
			e.Retried = append(e.Retried, on.String())
		}
	}
}
