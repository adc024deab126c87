package policies

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// Matcher finds the route of a request. It is immutable and safe for concurrent use. Its cost depends on the
// request and on how alike routes are, not on how many there are.
//
// The most specific route that fits wins, as in the Kubernetes Gateway API: by host (exact, then the longest
// wildcard, then none), by path (from the left, a static segment over a :param over *, and of those the one with the
// longest suffix), by method (named over any), by the number of other matchers, and then by the order in the file.
//
// A segment's ;parameters do not count. Where a route ignores case, so does the matching of its static segments.
type Matcher struct {
	routes    []*Route
	rules     []rule
	exact     map[string]*node // by host
	wildcards map[string]*node // by what follows *.
	any       *node
	anyHost   bool // a route is for all hosts
	folds     bool // a route ignores case: static segments are looked up in folded form
	byPlan    bool // a route asks for a plan
}

// ByPlan reports whether a route asks for a plan, so that a Request must have it.
func (m *Matcher) ByPlan() bool { return m.byPlan }

// node is a segment's place in the tree of one host's paths.
type node struct {
	static map[string]*node // by the segment, folded where the matcher folds
	param  *node
	end    []candidate // patterns that end here
	star   []candidate // patterns that have a * here, the longest suffix first
}

// candidate is one path of a route. Those of a node stand in their precedence.
type candidate struct {
	rule    *rule
	pattern *pattern
}

// NewMatcher compiles routes. Those of a loaded Policy have no errors; for others the first one is returned.
func NewMatcher(routes []*Route) (*Matcher, error) {
	m := &Matcher{
		routes:    routes,
		rules:     make([]rule, len(routes)),
		exact:     map[string]*node{},
		wildcards: map[string]*node{},
		any:       &node{},
		anyHost:   slices.ContainsFunc(routes, func(r *Route) bool { return len(r.Host) == 0 }),
		folds:     slices.ContainsFunc(routes, func(r *Route) bool { return r.IgnoreCase }),
	}
	for i, r := range routes {
		var err error
		if m.rules[i], err = newRule(i, r); err != nil {
			return nil, fmt.Errorf("route %d: %w", i, err)
		}
		m.byPlan = m.byPlan || len(r.Match.Plan) > 0
		if len(r.Path) == 0 {
			return nil, fmt.Errorf("route %d has no path", i)
		}
		for _, path := range r.Path {
			p, problem, mend := parsePattern(path, r.IgnoreCase)
			if problem != "" {
				return nil, fmt.Errorf("route %d: %s; %s", i, problem, mend)
			}
			for _, root := range m.roots(r.Host) {
				root.add(candidate{&m.rules[i], &p}, m.folds)
			}
		}
	}
	for _, root := range m.exact {
		root.sort()
	}
	for _, root := range m.wildcards {
		root.sort()
	}
	m.any.sort()
	return m, nil
}

// roots finds, or makes, the trees of a route's hosts.
func (m *Matcher) roots(hosts []string) []*node {
	if len(hosts) == 0 {
		return []*node{m.any}
	}
	var roots []*node
	for _, host := range hosts {
		trees, name := m.exact, host
		if suffix, ok := strings.CutPrefix(host, "*."); ok {
			trees, name = m.wildcards, suffix
		}
		if trees[name] == nil {
			trees[name] = &node{}
		}
		roots = append(roots, trees[name])
	}
	return roots
}

func (n *node) add(c candidate, folds bool) {
	for _, s := range c.pattern.segments {
		if s.param {
			if n.param == nil {
				n.param = &node{}
			}
			n = n.param
			continue
		}
		if n.static == nil {
			n.static = map[string]*node{}
		}
		key := s.text
		if folds {
			key = httpx.FoldPath(key)
		}
		if n.static[key] == nil {
			n.static[key] = &node{}
		}
		n = n.static[key]
	}
	if c.pattern.star {
		n.star = append(n.star, c)
	} else {
		n.end = append(n.end, c)
	}
}

func (n *node) sort() {
	for _, list := range [][]candidate{n.end, n.star} {
		slices.SortStableFunc(list, func(a, b candidate) int {
			return cmp.Or(cmp.Compare(len(b.pattern.suffix), len(a.pattern.suffix)), a.rule.compare(b.rule))
		})
	}
	for _, child := range n.static {
		child.sort()
	}
	if n.param != nil {
		n.param.sort()
	}
}

// NamesHost reports whether some route is for this host: by its name, by a wildcard, or as it is for all.
func (m *Matcher) NamesHost(host string) bool {
	if m.anyHost || m.exact[host] != nil {
		return true
	}
	for rest, ok := host, true; ok && len(m.wildcards) > 0; {
		if _, rest, ok = strings.Cut(rest, "."); ok && m.wildcards[rest] != nil {
			return true
		}
	}
	return false
}

// Match finds the route of a request. It allocates nothing unless the answer is MethodNotAllowed.
//
// A CORS preflight takes the route of the request that it asks leave for, if that has cors: it comes as OPTIONS,
// which no route for GET and POST would list.
func (m *Matcher) Match(r *Request) Match { return m.match(r, nil) }

func (m *Matcher) match(r *Request, tried *[]Attempt) Match {
	if r.Method != http.MethodOptions {
		return m.search(&search{request: r, folds: m.folds, tried: tried})
	}
	if method := httpx.PreflightFor(r.Method, r.Header); method != "" {
		asked := *r
		asked.Method = method
		if found := m.search(&search{request: &asked, folds: m.folds, tried: tried}); found.Outcome == Found && found.Route.CORS != nil {
			return found
		}
		if tried != nil {
			*tried = nil
		}
	}
	return m.search(&search{request: r, folds: m.folds, tried: tried})
}
