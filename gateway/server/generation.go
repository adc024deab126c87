package server

import (
	"fmt"
	"net/netip"

	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/clientip"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/policies"
)

// generation is a policy, compiled. It is complete before the first request
// sees it and does not change afterwards: a reload builds another one and
// swaps the pointer. What outlives it (connections, counters, sessions, the
// cache) is in parts.
type generation struct {
	policy    *policies.Policy
	hash      string
	resolver  *clientip.Resolver
	matcher   *policies.Matcher
	routes    []*route // by the matcher's index
	clients   apiClients
	sessions  *session.Manager
	signer    *session.Signer // nil: no assertions
	limits    map[string]ratelimit.Limit
	caches    map[string]cache.Rule
	configs   map[string]proxy.Config // of upstreams
	upstreams prepared
}

// compile builds a generation. All that can be wrong with a policy that has been
// loaded comes out here, before anything has changed.
func (s *Server) compile(p *policies.Policy) (*generation, error) {
	g := &generation{
		policy:  p,
		hash:    p.Hash(),
		clients: newAPIClients(p.Clients),
		limits:  map[string]ratelimit.Limit{},
		caches:  map[string]cache.Rule{},
		configs: map[string]proxy.Config{},
	}
	var err error
	if g.resolver, err = newResolver(p.Server); err != nil {
		return nil, err
	}
	if g.matcher, err = policies.NewMatcher(p.Routes); err != nil {
		return nil, err
	}
	if g.sessions, err = s.parts.sessions.With(sessionSettings(p.Session)); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	if g.signer, err = newSigner(p.Session.Assertion, s.options.Now); err != nil {
		return nil, err
	}
	for name, l := range p.Limits {
		if g.limits[name], err = Limit(name, l); err != nil {
			return nil, err
		}
	}
	for name, c := range p.Caches {
		if g.caches[name], err = newCacheRule(name, c); err != nil {
			return nil, err
		}
	}
	if len(g.caches) > 0 {
		if err := s.openCache(); err != nil {
			return nil, err
		}
	}
	for name, u := range p.Upstreams {
		cfg := upstreamConfig(u)
		if err := cfg.Check(); err != nil {
			return nil, fmt.Errorf("upstream %s: %w", name, err)
		}
		g.configs[name] = cfg
	}
	if g.upstreams, err = s.parts.upstreams.prepare(g.configs); err != nil {
		return nil, err
	}
	for _, r := range p.Routes {
		rt, err := s.newRoute(g, r)
		if err != nil {
			g.upstreams.discard()
			return nil, fmt.Errorf("route %s: %w", r.Name, err)
		}
		g.routes = append(g.routes, rt)
	}
	return g, nil
}

// install makes a generation the one that requests begin with from now on.
func (s *Server) install(g *generation, e entry) {
	s.parts.upstreams.adopt(g.upstreams, g.configs)
	s.current.Store(g)
	s.revisions.add(g.policy, g.hash, e, s.options.Now())
	s.metrics.policyLoaded.SetToCurrentTime()
}

func newResolver(p policies.Server) (*clientip.Resolver, error) {
	r, err := clientip.New(clientip.Options{
		TrustedProxies: append([]netip.Prefix(nil), p.TrustedProxies...),
		Header:         string(p.ClientIPHeader),
		IPv6Prefix:     p.IPv6Prefix,
	})
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	return r, nil
}
