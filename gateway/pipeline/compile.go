package pipeline

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/headgate/headgate/gateway/observe"
	"github.com/headgate/headgate/internal/networks"
	"github.com/headgate/headgate/internal/seldom"
	"github.com/headgate/headgate/middleware/blocklist"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/clientip"
	"github.com/headgate/headgate/middleware/compress"
	"github.com/headgate/headgate/middleware/jobs"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/middleware/store"
	"github.com/headgate/headgate/policies"
)

// Parts is what the stages work with besides the policy. It outlives policies.
type Parts struct {
	Counters  *ratelimit.Counters        // required
	Redis     *store.Redis               // by which Counters and Sessions are asked in one round trip; nil: there is none
	Sessions  *session.Manager           // with the policy's settings; nil where none is ever looked for, as in a replay
	Cache     *cache.Cache               // nil: the policy caches nothing
	Upstreams map[string]*proxy.Upstream // by name; nil where nothing is ever forwarded, as in a replay
	CORS      *LearnedCORS               // nil where nothing is ever answered
	Encoders  *compress.Encoders         // nil: some of the policy's own
	Jobs      *jobs.Queues               // with the policy's queues; nil where it has none, or nothing is ever answered

	// Blocks are the networks that operators have blocked; nil where there are none, as in a replay.
	Blocks *blocklist.List

	// Unheeded is called for each request whose peer names a client in that header and is not in trusted_proxies; may be nil.
	Unheeded func(peer netip.Addr, header string)

	// Ending is closed when the gateway begins to shut down: no request waits for others any
	// longer. Nil: never.
	Ending <-chan struct{}
	// Release is handed what gives back the places that a request holds under limits of requests in flight, when its
	// response is complete; nil: it is done at once. A test of a policy says how long a response lasts.
	Release func(release func())

	Metrics   *observe.Metrics      // nil counts nothing
	AccessLog *observe.LogWriter    // nil logs nothing
	LogFormat *observe.LogFormat    // how the access log writes records; nil: JSON with all fields
	Observe   func(*observe.Record) // called for each request when its response is complete; may be nil
	Log       *slog.Logger          // nil: slog.Default
	Now       func() time.Time      // nil: time.Now
}

// Pipeline is a policy's way for requests. It is complete before the first request sees
// it and does not change afterwards; it is safe for concurrent use.
type Pipeline struct {
	policy   *policies.Policy
	parts    Parts
	resolver *clientip.Resolver
	matcher  *policies.Matcher
	clients  apiClients
	limits   map[string]ratelimit.Limit
	plans    map[string]bool          // that limits have numbers for, and that of users
	devices  string                   // the cookie of known devices; empty where no limit is keyed by account
	affinity map[string]string        // the cookie of an upstream that chooses servers by one
	routes   []*Route                 // by the matcher's index
	denied   networks.Table[struct{}] // of server.deny
	every    []Stage                  // of every request, before its route is known
	jobs     *Route                   // of requests below jobs.path; nil in a policy without queues
	unrouted *Route                   // of requests that none of them fits; nil where nothing limits these
	purger   *Route                   // of PURGE requests; nil where they take the routes
	live     Backends
	lines    lines
}

// lines are those of the log that any request may cause.
type lines struct{ panicked, failed, unknownPlan, plainLogin, jobsNotCancelled seldom.Line }

// Route is one route of a policy, ready to be run.
type Route struct {
	Name   string
	Policy *policies.Route

	pipeline *Pipeline
	stages   []Stage
	serve    func(*Request) error // cache and app server; nil where the policy answers

	limiter                         *ratelimit.Limiter // nil: no limits
	byIdentity                      bool               // a limit is keyed by user or session, or has numbers for plans
	byPlan                          bool               // a limit has numbers for plans
	session                         session.Route
	noSession                       *session.RequestSession // that of all requests, where the route has no sessions
	cors                            *cors                   // nil: the app answers for itself
	requestHeaders, responseHeaders *headerRules            // nil: no rules
	maxBody                         int64                   // 0: no bound
	maintenance                     *maintenance
	cache                           *cache.Route   // nil: neither stores nor invalidates anything
	compress                        *compress.Rule // nil: nothing is compressed
	fixedBody                       []byte         // of a fixed response
	redirectTo, rewriteTo           policies.Template
}

// New compiles a policy that has been loaded without errors.
func New(policy *policies.Policy, parts Parts) (*Pipeline, error) {
	if parts.Now == nil {
		parts.Now = time.Now
	}
	if parts.LogFormat == nil {
		parts.LogFormat = observe.NewLogFormat(observe.LogOptions{})
	}
	if parts.Encoders == nil {
		parts.Encoders = compress.NewEncoders(0)
	}
	if parts.Log == nil {
		parts.Log = slog.Default()
	}
	p := &Pipeline{policy: policy, parts: parts, clients: newAPIClients(policy.Clients), limits: map[string]ratelimit.Limit{}, plans: map[string]bool{ratelimit.PlanUser: true}, affinity: affinityCookies(policy)}
	p.live = liveBackends{p}
	var err error
	if p.resolver, err = newResolver(policy.Server); err != nil {
		return nil, err
	}
	if p.matcher, err = policies.NewMatcher(policy.Routes); err != nil {
		return nil, err
	}
	p.denied = compileNetworks(policy.Server.Deny)
	p.every = p.everyRequest()
	for name, l := range policy.Limits {
		p.limits[name] = *l
		for plan := range l.Plans {
			p.plans[plan] = true
		}
		if l.ByAccount() && parts.Sessions != nil {
			p.devices = parts.Sessions.DeviceCookieName()
		}
	}
	for _, r := range policy.Routes {
		rt, err := p.newRoute(r)
		if err != nil {
			return nil, fmt.Errorf("route %s: %w", r.Name, err)
		}
		p.routes = append(p.routes, rt)
	}
	if p.jobs, err = p.newJobsRoute(); err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	if p.unrouted, err = p.newUnrouted(); err != nil {
		return nil, fmt.Errorf("defaults: %w", err)
	}
	if p.purger, err = p.newPurger(); err != nil {
		return nil, fmt.Errorf("server.purge_method: %w", err)
	}
	return p, nil
}

// Resolver finds out which client a request comes from.
func (p *Pipeline) Resolver() *clientip.Resolver { return p.resolver }

// Limiter returns the route's limits, nil where it has none.
func (rt *Route) Limiter() *ratelimit.Limiter { return rt.limiter }

// Limit returns the limit of that name.
func (p *Pipeline) Limit(name string) (l ratelimit.Limit, ok bool) {
	l, ok = p.limits[name]
	return l, ok
}

// Routes returns the routes, in the policy's order.
func (p *Pipeline) Routes() []*Route { return p.routes }

func newResolver(p policies.Server) (*clientip.Resolver, error) {
	r, err := clientip.New(clientip.Options{
		TrustedProxies: p.TrustedProxies,
		Header:         p.ClientIPHeader,
		TrustedHops:    p.TrustedHops,
		IPv6Prefix:     p.IPv6Prefix,
	})
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	return r, nil
}

func (p *Pipeline) newRoute(r *policies.Route) (*Route, error) {
	rt := &Route{
		Name:     r.Name,
		Policy:   r,
		pipeline: p,
		session: session.Route{
			Mode: r.Session, NoCSRF: !r.CSRF,
			Audience: r.Upstream, // of assertions, unless session.assertion names another
		},
		maxBody:         r.MaxBody,
		requestHeaders:  newHeaderRules(r.RequestHeaders),
		responseHeaders: newHeaderRules(r.ResponseHeaders),
	}
	if err := rt.bindLimits(); err != nil {
		return nil, err
	}
	if r.CORS != nil {
		rt.cors = newCORS(r.CORS)
	}
	if r.Maintenance != nil {
		rt.maintenance = newMaintenance(r.Maintenance)
	}
	rt.rewriteTo = policies.ParseTemplate(r.Rewrite)
	if r.Redirect != nil {
		rt.redirectTo = policies.ParseTemplate(r.Redirect.To)
	}
	if r.Respond != nil {
		rt.fixedBody = []byte(r.Respond.Body)
	}
	if err := rt.bindCache(); err != nil {
		return nil, err
	}
	if err := rt.bindCompress(); err != nil {
		return nil, err
	}
	if err := rt.bindLive(); err != nil {
		return nil, err
	}
	rt.stages = stagesOf(rt)
	return rt, nil
}

// bindLimits makes the route's limiter.
func (rt *Route) bindLimits() error {
	var limits []ratelimit.Limit
	for _, name := range rt.Policy.Limits {
		limit, ok := rt.pipeline.limits[name]
		if !ok {
			return fmt.Errorf("there is no limit %q", name)
		}
		rt.byPlan = rt.byPlan || len(limit.Plans) > 0
		for _, part := range limit.Key {
			if part.Kind == ratelimit.KeyUser || part.Kind == ratelimit.KeySession {
				rt.byIdentity = true
			}
		}
		limits = append(limits, limit)
	}
	if len(limits) == 0 {
		return nil
	}
	rt.byIdentity = rt.byIdentity || rt.byPlan
	o := ratelimit.Options{
		Limits:   limits,
		Counters: rt.pipeline.parts.Counters,
		Headers:  rt.pipeline.policy.Server.RateLimitHeaders,
		Ending:   rt.pipeline.parts.Ending,
	}
	if rt.session.Mode == session.Login {
		o.Succeeded = loggedIn
	}
	var err error
	rt.limiter, err = ratelimit.New(o)
	return err
}

// bindLive makes what only requests that are served need.
func (rt *Route) bindLive() error {
	parts := &rt.pipeline.parts
	if parts.Sessions != nil && rt.session.Mode == session.Off {
		rt.noSession = parts.Sessions.ForRequest(nil, rt.session)
	}
	if parts.Upstreams == nil || rt.Policy.Upstream == "" {
		return nil
	}
	u := parts.Upstreams[rt.Policy.Upstream]
	if u == nil {
		return fmt.Errorf("there is no upstream %q", rt.Policy.Upstream)
	}
	rt.serve = rt.newCached(rt.newForward(u))
	return nil
}
