package policies

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// Request is what a Matcher looks at.
type Request struct {
	Host     string              // NormalHost.Name
	Path     string              // NormalPath.RawPath
	Method   string              // as sent
	Header   map[string][]string // an http.Header
	RawQuery string              // without the ?
	ClientIP netip.Addr          // unmapped
}

// Outcome is what matching came to.
type Outcome int

// The outcomes.
const (
	NotFound         Outcome = iota // 404
	MethodNotAllowed                // 405: a path fits, no method does
	Found
)

// Match is the result of matching a request.
type Match struct {
	Outcome Outcome
	Index   int      // of the route, or -1
	Route   *Route   // or nil
	Allow   []string // with MethodNotAllowed: the methods that would do, sorted

	pattern *pattern
	path    string
}

// Param returns what a :name of the route's path matched, or * ("" where there is none), escaped as it was sent. A *
// has the slash at the end that matching ignores: /dir and /dir/ are two things to many an app.
func (m Match) Param(name string) (value string) {
	if m.pattern == nil {
		return ""
	}
	m.pattern.matches(m.path, func(n, v string) {
		if n == name {
			value = v
		}
	})
	if name == "*" && value != "" && strings.HasSuffix(m.path, "/") {
		value += "/"
	}
	return value
}

// Pattern returns that one of the route's paths that matched.
func (m Match) Pattern() string {
	if m.pattern == nil {
		return ""
	}
	return m.pattern.text
}

// Expand fills the :names and the last * of a rewrite or a redirect with what they matched.
// The result is escaped as the request's path was.
func (m Match) Expand(template string) string {
	var b strings.Builder
	eachReference(template, func(text string) { b.WriteString(text) }, func(name string) { b.WriteString(m.Param(name)) })
	return b.String()
}

// Matcher finds the route of a request. It is immutable and safe for concurrent use. Its cost depends on the
// request and on how alike routes are, not on how many there are.
//
// The most specific route that fits wins, as in the Kubernetes Gateway API: by host (exact, then the longest
// wildcard, then none), by path (from the left, a static segment over a :param over *), by method (named
// over any), by the number of other matchers, and then by the order in the file.
type Matcher struct {
	routes    []*Route
	rules     []rule
	exact     map[string]*node // by host
	wildcards map[string]*node // by what follows *.
	any       *node
}

// node is a segment's place in the tree of one host's paths.
type node struct {
	static map[string]*node
	param  *node
	end    []candidate // patterns that end here
	star   []candidate // patterns that have a * here
}

// candidate is one path of a route. Those of a node stand in their precedence.
type candidate struct {
	rule    *rule
	pattern *pattern
}

// rule is what a route asks for besides host and path.
type rule struct {
	index    int
	methods  []string
	headers  []condition // names in canonical form
	query    []condition
	clientIP []netip.Prefix
}

type condition struct{ name, value string }

// NewMatcher compiles routes. Those of a loaded Policy have no errors; for others the first one is returned.
func NewMatcher(routes []*Route) (*Matcher, error) {
	m := &Matcher{
		routes:    routes,
		rules:     make([]rule, len(routes)),
		exact:     map[string]*node{},
		wildcards: map[string]*node{},
		any:       &node{},
	}
	for i, r := range routes {
		m.rules[i] = newRule(i, r)
		if len(r.Path) == 0 {
			return nil, fmt.Errorf("route %d has no path", i)
		}
		for _, path := range r.Path {
			p, problem, mend := parsePattern(path)
			if problem != "" {
				return nil, fmt.Errorf("route %d: %s; %s", i, problem, mend)
			}
			for _, root := range m.roots(r.Host) {
				root.add(candidate{&m.rules[i], &p})
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

func newRule(index int, r *Route) rule {
	conditions := func(m map[string]string, canonical func(string) string) []condition {
		var out []condition
		for name, value := range m {
			out = append(out, condition{canonical(name), value})
		}
		slices.SortFunc(out, func(a, b condition) int { return cmp.Compare(a.name, b.name) })
		return out
	}
	return rule{
		index:    index,
		methods:  r.Methods,
		headers:  conditions(r.Match.Headers, textproto.CanonicalMIMEHeaderKey),
		query:    conditions(r.Match.Query, func(s string) string { return s }),
		clientIP: r.Match.ClientIP,
	}
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

func (n *node) add(c candidate) {
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
		if n.static[s.text] == nil {
			n.static[s.text] = &node{}
		}
		n = n.static[s.text]
	}
	if c.pattern.star {
		n.star = append(n.star, c)
	} else {
		n.end = append(n.end, c)
	}
}

func (n *node) sort() {
	for _, list := range [][]candidate{n.end, n.star} {
		slices.SortStableFunc(list, func(a, b candidate) int { return a.rule.compare(b.rule) })
	}
	for _, child := range n.static {
		child.sort()
	}
	if n.param != nil {
		n.param.sort()
	}
}

// compare is the precedence of two routes of the same host and path: negative if r comes first.
func (r *rule) compare(other *rule) int {
	named := func(r *rule) int { return min(len(r.methods), 1) }
	return cmp.Or(
		-cmp.Compare(named(r), named(other)),
		-cmp.Compare(r.matchers(), other.matchers()),
		cmp.Compare(r.index, other.index),
	)
}

// matchers counts what a route asks for besides host, path and method.
func (r *rule) matchers() int {
	n := len(r.headers) + len(r.query)
	if len(r.clientIP) > 0 {
		n++
	}
	return n
}

// Match finds the route of a request. It allocates nothing unless the answer is MethodNotAllowed.
//
// A CORS preflight takes the route of the request that it asks leave for, if that has cors: it comes as OPTIONS,
// which no route for GET and POST would list.
func (m *Matcher) Match(r *Request) Match { return m.match(r, nil) }

func (m *Matcher) match(r *Request, tried *[]Attempt) Match {
	if r.Method != http.MethodOptions {
		return m.search(&search{request: r, tried: tried})
	}
	if method := httpx.PreflightFor(r.Method, r.Header); method != "" {
		asked := *r
		asked.Method = method
		if found := m.search(&search{request: &asked, tried: tried}); found.Outcome == Found && found.Route.CORS != nil {
			return found
		}
		if tried != nil {
			*tried = nil
		}
	}
	return m.search(&search{request: r, tried: tried})
}

// search is one walk through the trees. It tries candidates in the order of their precedence.
type search struct {
	request  *Request
	best     candidate
	methodOK bool       // whether a route of a fitting path had a fitting method
	allowed  []string   // the methods of routes that fit but for the method
	tried    *[]Attempt // where Explain wants to know
}

func (m *Matcher) search(s *search) Match {
	path := trimSlashes(s.request.Path)
	found := len(m.exact) > 0 && m.exact[s.request.Host].walk(path, s)
	if !found && len(m.wildcards) > 0 {
		for rest := s.request.Host; !found; {
			var ok bool
			if _, rest, ok = strings.Cut(rest, "."); !ok {
				break
			}
			found = m.wildcards[rest].walk(path, s)
		}
	}
	found = found || m.any.walk(path, s)
	switch {
	case found:
		i := s.best.rule.index
		return Match{Outcome: Found, Index: i, Route: m.routes[i], pattern: s.best.pattern, path: s.request.Path}
	case len(s.allowed) > 0 && !s.methodOK:
		slices.Sort(s.allowed)
		return Match{Outcome: MethodNotAllowed, Index: -1, Allow: slices.Compact(s.allowed)}
	}
	return Match{Outcome: NotFound, Index: -1}
}

// walk tries what the rest of the path leads to from here: a static segment first, then a parameter, then *.
func (n *node) walk(rest string, s *search) bool {
	if n == nil {
		return false
	}
	if rest == "" {
		return s.try(n.end) || s.try(n.star)
	}
	segment, after, _ := strings.Cut(rest, "/")
	return n.static[segment].walk(after, s) || n.param.walk(after, s) || s.try(n.star)
}

func (s *search) try(list []candidate) bool {
	for _, c := range list {
		why := c.rule.refuses(s.request)
		if s.tried != nil {
			*s.tried = append(*s.tried, Attempt{Index: c.rule.index, Pattern: c.pattern.text, Why: c.rule.explain(why, s.request)})
		}
		switch why.matcher {
		case fits:
			s.best = c
			return true
		case methodDiffers:
			if c.rule.refusesOthers(s.request).matcher == fits {
				s.allowed = append(s.allowed, c.rule.allows()...)
			}
		default:
			s.methodOK = true
		}
	}
	return false
}

// refusal says which matcher of a rule a request does not meet.
type refusal struct {
	matcher matcherKind
	name    string // of the header or parameter
}

type matcherKind int

const (
	fits matcherKind = iota
	methodDiffers
	headerDiffers
	queryDiffers
	clientDiffers
)

func (r *rule) refuses(req *Request) refusal {
	if len(r.methods) > 0 && !slices.Contains(r.methods, req.Method) && !(req.Method == "HEAD" && slices.Contains(r.methods, "GET")) {
		return refusal{matcher: methodDiffers}
	}
	return r.refusesOthers(req)
}

// refusesOthers looks at everything but the method.
func (r *rule) refusesOthers(req *Request) refusal {
	for _, h := range r.headers {
		if !slices.Contains(req.Header[h.name], h.value) {
			return refusal{headerDiffers, h.name}
		}
	}
	for _, q := range r.query {
		if !queryHas(req.RawQuery, q) {
			return refusal{queryDiffers, q.name}
		}
	}
	if len(r.clientIP) > 0 && !slices.ContainsFunc(r.clientIP, func(p netip.Prefix) bool { return p.Contains(req.ClientIP) }) {
		return refusal{matcher: clientDiffers}
	}
	return refusal{}
}

// allows lists the methods for Allow; GET includes HEAD.
func (r *rule) allows() []string {
	if slices.Contains(r.methods, "GET") {
		return append([]string{"HEAD"}, r.methods...)
	}
	return r.methods
}

// queryHas reports whether a query has a parameter with this value. It looks at the query in
// place: url.ParseQuery would allocate for each request.
func queryHas(query string, want condition) bool {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		if unescapedEquals(name, want.name) && unescapedEquals(value, want.value) {
			return true
		}
	}
	return false
}

func unescapedEquals(escaped, want string) bool {
	if !strings.ContainsAny(escaped, "%+") {
		return escaped == want
	}
	plain, err := url.QueryUnescape(escaped)
	return err == nil && plain == want
}
