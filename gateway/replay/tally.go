package replay

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/gateway/replay/logs"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/policies"
)

// tally counts the verdicts of one policy.
type tally struct {
	engine  *engine
	name    string
	top     int
	agents  agents
	clients *clients
	series  series
	paths   paths

	counts  [outcomes]int64
	dryRun  int64
	banned  []int64        // by limit
	matrix  map[cell]int64 // denials, dry runs included, by limit and route
	routes  []RouteResult
	byRule  map[string]*CacheCount
	byRoute []CacheCount
}

type cell struct{ limit, route int }

func newTally(e *engine, name string, top int) *tally {
	t := &tally{
		engine: e, name: name, top: top,
		clients: newClients(maxClients),
		banned:  make([]int64, len(e.limits)),
		matrix:  make(map[cell]int64),
		routes:  make([]RouteResult, len(e.routes)),
		byRule:  make(map[string]*CacheCount),
		byRoute: make([]CacheCount, len(e.routes)),
	}
	for i, r := range e.routes {
		t.routes[i].Name = r.Name
		if r.Policy.Cache != "" {
			t.byRule[r.Policy.Cache] = &CacheCount{}
		}
	}
	return t
}

// add counts a request and its verdict, and returns its client; nil
// where there are too many clients to count them all.
func (t *tally) add(r *logs.Record, v *verdict) *client {
	t.counts[v.outcome]++
	point := t.series.at(t.engine.now)
	point.Requests++
	var nowhere RouteResult
	route := &nowhere
	if v.route >= 0 {
		route = &t.routes[v.route]
	} else if v.outcome != passed && v.outcome != deniedNetwork && v.outcome != purgeRefused {
		t.addUnmatched(r, v)
	}
	route.Requests++
	switch {
	case v.outcome == denied:
		route.Denied++
		point.Denied++
		t.matrix[cell{v.limit, v.route}]++
		if v.banned {
			t.banned[v.limit]++
		}
	case v.dryRun >= 0:
		t.dryRun++
		route.DryRunDenied++
		point.DryRun++
		t.matrix[cell{v.dryRun, v.route}]++
	}
	if v.cache != notCached {
		count := t.byRule[t.engine.routes[v.route].Policy.Cache]
		count.add(v.cache)
		t.byRoute[v.route].add(v.cache)
		if v.cache != cacheMiss {
			point.Hits++
		}
	}
	kind := t.agents.kind(r)
	c := t.clients.of(t.keyOf(r))
	if c != nil {
		c.count(t.engine.now, kind, v, r.Agent)
	}
	return c
}

// routeName is what the report calls a route; -1 is none.
func (t *tally) routeName(i int) string {
	if i < 0 {
		return "(no route)"
	}
	return t.routes[i].Name
}

func (t *tally) keyOf(r *logs.Record) clientKey {
	if r.Own != nil && r.Own.Client != "" && t.engine.policy.Clients[r.Own.Client] != nil {
		return clientKey{name: r.Own.Client}
	}
	return clientKey{addr: t.engine.pipeline.Resolver().Bucket(r.Addr)}
}

func (t *tally) addUnmatched(r *logs.Record, v *verdict) {
	k := pathKey{status: statusOf(v.outcome), method: r.Method}
	if v.outcome != badRequest {
		_, k.path, _ = pipeline.SplitTarget(r.URI)
	} else if k.path = r.URI; r.Method == "" {
		k.method, k.path = "?", "(no HTTP)"
	}
	t.paths.add(k)
}

func statusOf(o outcome) int {
	switch o {
	case badRequest:
		return http.StatusBadRequest
	case notFound:
		return http.StatusNotFound
	case methodNotAllowed:
		return http.StatusMethodNotAllowed
	case denied:
		return http.StatusTooManyRequests
	case deniedNetwork, purgeRefused:
		return http.StatusForbidden
	case maintenance:
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

func (c *CacheCount) add(a cacheUse) {
	c.Requests++
	if a != cacheMiss {
		c.Hits++
	}
	if a == cacheStale || a == cacheStaleOnError {
		c.Stale++
	}
	if a != cacheHit {
		c.Origin++
	}
}

func (c *CacheCount) plus(o CacheCount) {
	c.Requests += o.Requests
	c.Hits += o.Hits
	c.Stale += o.Stale
	c.Origin += o.Origin
}

// result returns the counts as the report has them.
func (t *tally) result() PolicyResult {
	for _, c := range t.clients.all {
		c.endMinute()
	}
	p := PolicyResult{
		Name:         t.name,
		Admitted:     t.counts[passed],
		Denied:       t.counts[denied],
		DryRunDenied: t.dryRun,
		Networks:     t.counts[deniedNetwork],
		Maintenance:  t.counts[maintenance],
		Purges:       t.counts[purgeRefused],
		Limits:       t.limitResults(),
		Routes:       t.routes,
		Unmatched: Unmatched{
			BadRequest:       t.counts[badRequest],
			NotFound:         t.counts[notFound],
			MethodNotAllowed: t.counts[methodNotAllowed],
			Top:              t.paths.top(t.top),
			Approximate:      t.paths.approximate,
		},
		Cache:  t.cacheResult(),
		Series: t.series.result(),
	}
	for _, c := range t.clients.all {
		if c.denied > 0 {
			p.CutOff.Clients++
			if c.looksLikeBot() {
				p.CutOff.Bots++
			}
		}
	}
	for _, c := range t.clients.top(t.top, func(c *client) int64 { return c.denied }) {
		p.CutOff.Top = append(p.CutOff.Top, t.clientView(c))
	}
	return p
}

func (t *tally) clientView(c *client) ClientView {
	v := ClientView{
		Client: t.nameOf(c.key), Requests: c.requests, Denied: c.denied, Bot: c.looksLikeBot(),
		Agent:               c.agent,
		WorstMinute:         timeOf(c.worstMinute * 60_000_000),
		WorstMinuteRequests: c.worstRequests,
		WorstMinuteDenied:   c.worstDenied,
		FirstDenied:         timeOf(c.firstDenied),
	}
	if len(v.Agent) > maxPathLen {
		v.Agent = v.Agent[:maxPathLen] + "…"
	}
	for _, l := range c.limits {
		if name := t.engine.limits[l.limit]; !t.engine.policy.Limits[name].DryRun {
			v.Limits = append(v.Limits, LimitDenied{name, l.n})
		}
	}
	slices.SortFunc(v.Limits, byDenials)
	return v
}

// nameOf is what the report calls a client; an IPv6 client is its prefix.
func (t *tally) nameOf(k clientKey) string {
	if k.addr.Is6() && t.engine.policy.Server.IPv6Prefix < 128 {
		return fmt.Sprintf("%s/%d", k.addr, t.engine.policy.Server.IPv6Prefix)
	}
	return k.String()
}

func byDenials(a, b LimitDenied) int {
	return cmp.Or(cmp.Compare(b.Denied, a.Denied), cmp.Compare(a.Limit, b.Limit))
}

func (t *tally) limitResults() []LimitResult {
	results := make([]LimitResult, len(t.engine.limits))
	for i, name := range t.engine.limits {
		l := t.engine.policy.Limits[name]
		results[i] = LimitResult{Name: name, Rule: describeLimit(l), DryRun: l.DryRun, ByBan: t.banned[i]}
	}
	for c, n := range t.matrix {
		r := &results[c.limit]
		r.Denied += n
		r.ByRoute = append(r.ByRoute, RouteDenied{t.routeName(c.route), n})
	}
	for i := range results {
		slices.SortFunc(results[i].ByRoute, func(a, b RouteDenied) int {
			return cmp.Or(cmp.Compare(b.Denied, a.Denied), cmp.Compare(a.Route, b.Route))
		})
	}
	for _, c := range t.clients.all {
		for _, l := range c.limits {
			results[l.limit].Clients++
			if c.looksLikeBot() {
				results[l.limit].Bots++
			}
		}
	}
	return results
}

// describeLimit says in short what a limit admits: "100 per 1m by ip".
func describeLimit(l *ratelimit.Limit) string {
	s := fmt.Sprintf("%d per %s by %s, %s", l.Requests, policies.FormatDuration(l.Window), strings.Join(ratelimit.KeyWords(l.Key), "+"), l.Algorithm)
	if l.Burst > 0 && l.Burst != l.Requests {
		s += fmt.Sprintf(", burst %d", l.Burst)
	}
	if l.Cost > 1 {
		s += fmt.Sprintf(", cost %d", l.Cost)
	}
	switch {
	case l.Count.Failed:
		s += ", failed ones"
	case len(l.Count.Statuses) > 0:
		s += fmt.Sprintf(", statuses %v", l.Count.Statuses)
	}
	if l.Ban != (ratelimit.Ban{}) {
		s += fmt.Sprintf(", ban for %s after %d", policies.FormatDuration(l.Ban.For), l.Ban.After)
	}
	return s
}

func (t *tally) cacheResult() *CacheEstimate {
	if t.engine.cache == nil {
		return nil
	}
	e := &CacheEstimate{}
	for _, name := range slices.Sorted(maps.Keys(t.byRule)) {
		e.Rules = append(e.Rules, CacheResult{name, *t.byRule[name]})
		e.plus(*t.byRule[name])
	}
	for i, r := range t.engine.routes {
		if r.Policy.Cache != "" {
			e.Routes = append(e.Routes, CacheResult{r.Name, t.byRoute[i]})
		}
	}
	return e
}
