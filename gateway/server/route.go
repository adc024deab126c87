package server

import (
	"fmt"
	"net/http"

	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/policies"
	"github.com/labstack/echo/v4"
)

// route is one route of a generation, ready to be run.
type route struct {
	name    string
	policy  *policies.Route
	gen     *generation
	server  *Server
	handler echo.HandlerFunc

	limiter     *ratelimit.Limiter // nil: no limits
	byIdentity  bool               // a limit is keyed by user or session
	session     session.Route
	noSession   *session.RequestSession // that of all requests, where the route has no sessions
	cors        *cors                   // nil: the app answers for itself
	maxBody     int64                   // 0: no bound
	maintenance *maintenance
}

// newRoute builds a route with the chain of handlers that its requests pass,
// in the order of docs/architecture.md:
//
//	identify -> CORS -> maintenance -> admit (deny cache, session, limits, session rule) -> body -> cache -> answer
func (s *Server) newRoute(g *generation, p *policies.Route) (*route, error) {
	rt := &route{
		name:   p.Name,
		policy: p,
		gen:    g,
		server: s,
		session: session.Route{
			Mode: session.Mode(p.Session), NoCSRF: !bool(p.CSRF),
			Signer: g.signer, Audience: audience(g.policy, p),
		},
		maxBody: p.MaxBody,
	}
	if rt.session.Mode == session.Off {
		rt.noSession = g.sessions.ForRequest(nil, rt.session)
	}
	if err := rt.bindLimits(); err != nil {
		return nil, err
	}
	if p.CORS != nil {
		rt.cors = newCORS(p.CORS)
	}
	if p.Maintenance != nil {
		rt.maintenance = newMaintenance(p.Maintenance)
	}

	answer, err := rt.answer()
	if err != nil {
		return nil, err
	}
	rt.handler = chain(answer,
		rt.identify,
		rt.crossOrigin,
		rt.inMaintenance,
		rt.admit,
		rt.boundBody,
		rt.cached,
	)
	return rt, nil
}

// chain puts middleware around a handler; the first is the outermost.
func chain(h echo.HandlerFunc, middleware ...echo.MiddlewareFunc) echo.HandlerFunc {
	for i := len(middleware) - 1; i >= 0; i-- {
		h = middleware[i](h)
	}
	return h
}

// answer returns what the route does with a request that has come so far.
func (rt *route) answer() (echo.HandlerFunc, error) {
	switch p := rt.policy; {
	case p.Redirect != nil:
		return rt.ownAnswer(redirect(p.Redirect)), nil
	case p.Respond != nil:
		return rt.ownAnswer(respond(p.Respond)), nil
	default:
		u := rt.gen.upstreams.byName[p.Upstream]
		if u == nil {
			return nil, fmt.Errorf("there is no upstream %q", p.Upstream)
		}
		return rt.forward(u), nil
	}
}

// bindLimits makes the route's limiter.
func (rt *route) bindLimits() error {
	var limits []ratelimit.Limit
	for _, name := range rt.policy.Limits {
		limit, ok := rt.gen.limits[name]
		if !ok {
			return fmt.Errorf("there is no limit %q", name)
		}
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
	o := ratelimit.Options{
		Limits:   limits,
		Counters: rt.server.parts.counters,
		Headers:  ratelimit.HeaderStyle(rt.gen.policy.Server.RateLimitHeaders),
	}
	if rt.session.Mode == session.Login {
		o.Succeeded = loggedIn
	}
	var err error
	rt.limiter, err = ratelimit.New(o)
	return err
}

// loggedIn is what success means on a login route: the app has logged somebody
// in, whatever its status says.
func loggedIn(_ int, h http.Header) bool { return h.Get(session.HeaderLogin) != "" }

// identify finds out whose API key the request carries.
func (rt *route) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		exchangeOf(c).api = rt.gen.clients.identify(c.Request().Header)
		return next(c)
	}
}

// boundBody refuses a request body that is too large: at once where its length
// is declared, otherwise as soon as it turns out.
func (rt *route) boundBody(next echo.HandlerFunc) echo.HandlerFunc {
	if rt.maxBody == 0 {
		return next
	}
	return func(c echo.Context) error {
		r := c.Request()
		if r.ContentLength > rt.maxBody {
			return &http.MaxBytesError{Limit: rt.maxBody}
		}
		if r.ContentLength < 0 {
			r.Body = http.MaxBytesReader(c.Response().Writer, r.Body, rt.maxBody)
		}
		return next(c)
	}
}
