package policies

import (
	"cmp"
	"net/netip"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// rule is what a route asks for besides host and path.
type rule struct {
	index    int
	path     *regexp.Regexp // nil: none
	folds    bool           // path is for folded paths
	methods  []string
	scheme   string      // "" is any
	headers  []condition // names in canonical form
	cookies  []condition
	query    []condition
	clientIP []netip.Prefix
	plans    []string
}

// condition asks that something of this name has the value, or Present.
type condition struct{ name, value string }

// Present stands for any value of a header or cookie that a route asks for.
const Present = "present"

func newRule(index int, r *Route) (rule, error) {
	conditions := func(m map[string]string, canonical func(string) string) []condition {
		var out []condition
		for name, value := range m {
			out = append(out, condition{canonical(name), value})
		}
		slices.SortFunc(out, func(a, b condition) int { return cmp.Compare(a.name, b.name) })
		return out
	}
	asWritten := func(s string) string { return s }
	path, err := r.Match.compile(r.IgnoreCase)
	return rule{
		index:    index,
		path:     path,
		folds:    r.IgnoreCase,
		methods:  r.Methods,
		scheme:   string(r.Match.Scheme),
		headers:  conditions(r.Match.Headers, textproto.CanonicalMIMEHeaderKey),
		cookies:  conditions(r.Match.Cookies, asWritten),
		query:    conditions(r.Match.Query, asWritten),
		clientIP: r.Match.ClientIP,
		plans:    r.Match.Plan,
	}, err
}

// compile returns the expression that paths must match, nil where there is none.
func (m *Conditions) compile(ignoreCase bool) (*regexp.Regexp, error) {
	switch {
	case m.PathRegex == "":
		return nil, nil
	case ignoreCase:
		return regexp.Compile("(?i)" + m.PathRegex)
	}
	return regexp.Compile(m.PathRegex)
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
	n := len(r.headers) + len(r.cookies) + len(r.query) + min(len(r.clientIP), 1) + min(len(r.plans), 1)
	if r.path != nil {
		n++
	}
	if r.scheme != "" {
		n++
	}
	return n
}

// refusal says which matcher of a rule a request does not meet.
type refusal struct {
	matcher matcherKind
	name    string // of the header or parameter
}

type matcherKind int

const (
	fits matcherKind = iota
	pathDiffers
	methodDiffers
	schemeDiffers
	headerDiffers
	cookieDiffers
	queryDiffers
	clientDiffers
	planDiffers
)

func (r *rule) refuses(req *Request) refusal {
	if r.path != nil && !r.path.MatchString(r.comparable(req.Path)) {
		return refusal{matcher: pathDiffers}
	}
	if len(r.methods) > 0 && !slices.Contains(r.methods, req.Method) && !(req.Method == "HEAD" && slices.Contains(r.methods, "GET")) {
		return refusal{matcher: methodDiffers}
	}
	return r.refusesOthers(req)
}

// comparable returns a path without what does not count in matching: segments' parameters, a slash at the end, and case
// where the route ignores it.
func (r *rule) comparable(path string) string {
	if strings.Contains(path, ";") || strings.Contains(path, "%3B") {
		segments := strings.Split(path, "/")
		for i, s := range segments {
			segments[i] = httpx.SegmentName(s)
		}
		path = strings.Join(segments, "/")
	}
	if len(path) > 1 {
		path = strings.TrimSuffix(path, "/")
	}
	if r.folds {
		path = httpx.FoldPath(path)
	}
	return path
}

// refusesOthers looks at everything but path and method.
func (r *rule) refusesOthers(req *Request) refusal {
	if r.scheme != "" && r.scheme != req.Scheme {
		return refusal{matcher: schemeDiffers}
	}
	for _, h := range r.headers {
		if lines := req.Header[h.name]; !slices.Contains(lines, h.value) && !(h.value == Present && len(lines) > 0) {
			return refusal{headerDiffers, h.name}
		}
	}
	for _, c := range r.cookies {
		if !cookieHas(req.Header["Cookie"], c) {
			return refusal{cookieDiffers, c.name}
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
	if len(r.plans) > 0 && !slices.Contains(r.plans, req.Plan) {
		return refusal{matcher: planDiffers}
	}
	return refusal{}
}

// cookieHas reports whether a cookie in the lines has this name and value.
func cookieHas(lines []string, want condition) bool {
	for value := range httpx.CookieValues(lines, want.name) {
		if value == want.value || want.value == Present {
			return true
		}
	}
	return false
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
