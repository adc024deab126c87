package policies

import (
	"cmp"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
)

// rule is what a route asks for besides host and path.
type rule struct {
	index    int
	methods  []string
	headers  []condition // names in canonical form
	query    []condition
	clientIP []netip.Prefix
}

type condition struct{ name, value string }

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
