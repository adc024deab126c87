package policies_test

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/headgate/headgate/policies"
	"pgregory.net/rapid"
)

// The reference is the rule as it is written, without regard for cost: list every
// (route, host, path), sort by precedence, take the first that fits.

type option struct {
	index int
	host  string
	path  string
	route *policies.Route
}

func referenceMatch(routes []*policies.Route, r *policies.Request) (policies.Outcome, int, []string) {
	var options []option
	for i, route := range routes {
		hosts := route.Host
		if len(hosts) == 0 {
			hosts = []string{""}
		}
		for _, h := range hosts {
			for _, p := range route.Path {
				options = append(options, option{i, h, p, route})
			}
		}
	}
	slices.SortStableFunc(options, func(a, b option) int {
		return cmp.Or(
			cmp.Compare(hostRank(b.host), hostRank(a.host)),
			slices.Compare(pathRank(a.path), pathRank(b.path)),
			cmp.Compare(len(suffixOf(b.path)), len(suffixOf(a.path))),
			cmp.Compare(min(len(b.route.Methods), 1), min(len(a.route.Methods), 1)),
			cmp.Compare(matchers(b.route), matchers(a.route)),
			cmp.Compare(a.index, b.index),
		)
	})
	allow := map[string]bool{}
	methodFits := false
	for _, o := range options {
		if !hostFits(o.host, r.Host) || !pathFits(o.path, r.Path, o.route.IgnoreCase) || !regexFits(o.route, r.Path) {
			continue
		}
		rest := othersFit(o.route, r)
		if !methodOK(o.route.Methods, r.Method) {
			if rest {
				for _, m := range o.route.Methods {
					allow[m] = true
					if m == "GET" {
						allow["HEAD"] = true
					}
				}
			}
			continue
		}
		methodFits = true
		if rest {
			return policies.Found, o.index, nil
		}
	}
	if methodFits || len(allow) == 0 {
		return policies.NotFound, -1, nil
	}
	var list []string
	for m := range allow {
		list = append(list, m)
	}
	slices.Sort(list)
	return policies.MethodNotAllowed, -1, list
}

// hostRank: exact, then wildcards by length, then none.
func hostRank(h string) int {
	switch {
	case h == "":
		return 0
	case h[0] == '*':
		return len(h)
	}
	return 1000
}

// pathRank compares from the left: static 0, the end of the path 1, :param 2, * 3. (Only paths that match the same
// request are ever compared, so the end meets nothing but a *.)
func pathRank(p string) []int {
	var rank []int
	for _, s := range strings.Split(strings.Trim(p, "/"), "/") {
		switch {
		case s == "":
		case s[0] == '*':
			rank = append(rank, 3)
		case s[0] == ':':
			rank = append(rank, 2)
		default:
			rank = append(rank, 0)
		}
	}
	if len(rank) == 0 || rank[len(rank)-1] != 3 {
		rank = append(rank, 1)
	}
	return rank
}

func matchers(r *policies.Route) int {
	n := len(r.Match.Headers) + len(r.Match.Query) + len(r.Match.Cookies)
	for _, asks := range []bool{len(r.Match.ClientIP) > 0, len(r.Match.Plan) > 0, r.Match.PathRegex != "", r.Match.Scheme != ""} {
		if asks {
			n++
		}
	}
	return n
}

// suffixOf is what follows the * of a path.
func suffixOf(path string) string {
	_, suffix, _ := strings.Cut(path, "*")
	return suffix
}

// regexFits matches what the reference says: the path without parameters and without a slash at the end.
func regexFits(route *policies.Route, path string) bool {
	if route.Match.PathRegex == "" {
		return true
	}
	var plain []string
	for _, s := range strings.Split(path, "/") {
		s, _, _ = strings.Cut(strings.ReplaceAll(s, "%3B", ";"), ";")
		plain = append(plain, s)
	}
	path = strings.Join(plain, "/")
	if path != "/" {
		path = strings.TrimSuffix(path, "/")
	}
	if route.IgnoreCase {
		return regexp.MustCompile("(?i)" + route.Match.PathRegex).MatchString(path)
	}
	return regexp.MustCompile(route.Match.PathRegex).MatchString(path)
}

func hostFits(pattern, host string) bool {
	if pattern == "" || pattern == host {
		return true
	}
	return pattern[0] == '*' && strings.HasSuffix(host, pattern[1:]) && host != pattern[1:]
}

func pathFits(pattern, path string, ignoreCase bool) bool {
	want := strings.FieldsFunc(pattern, func(r rune) bool { return r == '/' })
	got := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	for i, w := range want {
		if w == "*" {
			return true
		}
		if w[0] == '*' {
			if i >= len(got) {
				return false
			}
			last, _, _ := strings.Cut(strings.ReplaceAll(got[len(got)-1], "%3B", ";"), ";")
			end := len(last) - len(w[1:])
			return end >= 0 && sameSegment(w[1:], last[end:], ignoreCase)
		}
		if i >= len(got) || w[0] != ':' && !sameSegment(w, got[i], ignoreCase) {
			return false
		}
	}
	return len(want) == len(got)
}

// sameSegment compares a segment of a route with one of a request, whose parameters do not count.
func sameSegment(want, got string, ignoreCase bool) bool {
	got, _, _ = strings.Cut(strings.ReplaceAll(got, "%3B", ";"), ";")
	if !ignoreCase {
		return want == got
	}
	want, _ = url.PathUnescape(want)
	got, _ = url.PathUnescape(got)
	return strings.EqualFold(want, got)
}

func methodOK(methods []string, m string) bool {
	return len(methods) == 0 || slices.Contains(methods, m) || m == "HEAD" && slices.Contains(methods, "GET")
}

func othersFit(route *policies.Route, r *policies.Request) bool {
	for k, v := range route.Match.Headers {
		if !slices.Contains(r.Header[k], v) && !(v == policies.Present && len(r.Header[k]) > 0) {
			return false
		}
	}
	if route.Match.Scheme != "" && string(route.Match.Scheme) != r.Scheme || len(route.Match.Plan) > 0 && !slices.Contains(route.Match.Plan, r.Plan) {
		return false
	}
	request := http.Request{Header: r.Header}
	for k, v := range route.Match.Cookies {
		if !slices.ContainsFunc(request.CookiesNamed(k), func(c *http.Cookie) bool { return v == policies.Present || c.Value == v }) {
			return false
		}
	}
	values, _ := url.ParseQuery(r.RawQuery)
	for k, v := range route.Match.Query {
		if !slices.Contains(values[k], v) {
			return false
		}
	}
	return len(route.Match.ClientIP) == 0 || slices.ContainsFunc(route.Match.ClientIP, func(p netip.Prefix) bool { return p.Contains(r.ClientIP) })
}

var (
	hostsDrawn = rapid.SampledFrom([]string{"a.test", "b.a.test", "c.b.a.test", "*.a.test", "*.test", "*.b.a.test", "other"})
	methodsAny = rapid.SampledFrom([]string{"GET", "HEAD", "POST", "PURGE"})
)

func drawPath(t *rapid.T, segments []string) string {
	return "/" + strings.Join(rapid.SliceOfN(rapid.SampledFrom(segments), 0, 4).Draw(t, "segments"), "/")
}

func drawRoute(t *rapid.T, ignoreCase bool) *policies.Route {
	r := &policies.Route{}
	r.Host = rapid.SliceOfNDistinct(hostsDrawn, 0, 2, rapid.ID).Draw(t, "host")
	r.Methods = rapid.SliceOfNDistinct(methodsAny, 0, 2, rapid.ID).Draw(t, "methods")
	for range rapid.IntRange(1, 2).Draw(t, "paths") {
		p := drawPath(t, []string{"a", "b", "c", ":p", "B", "%C3%A9"})
		for i := 0; strings.Contains(p, ":p/") || strings.HasSuffix(p, ":p"); i++ { // parameters need names of their own
			p = strings.Replace(p, ":p", fmt.Sprintf(":q%d", i), 1)
		}
		if rapid.Bool().Draw(t, "star") {
			p = strings.TrimSuffix(p, "/") + "/*" + rapid.SampledFrom([]string{"", "", ".a", ".b.a", "B", "a"}).Draw(t, "suffix")
		} else if rapid.Bool().Draw(t, "slash") && p != "/" {
			p += "/"
		}
		if !slices.Contains(r.Path, p) {
			r.Path = append(r.Path, p)
		}
	}
	r.IgnoreCase = ignoreCase && rapid.Bool().Draw(t, "ignore case")
	if rapid.IntRange(0, 3).Draw(t, "has headers") == 0 {
		r.Match.Headers = rapid.MapOfN(rapid.SampledFrom([]string{"X-A", "X-B"}), rapid.SampledFrom([]string{"1", "2", policies.Present}), 1, 2).Draw(t, "headers")
	}
	if rapid.IntRange(0, 3).Draw(t, "has cookies") == 0 {
		r.Match.Cookies = rapid.MapOfN(rapid.SampledFrom([]string{"x", "y"}), rapid.SampledFrom([]string{"1", policies.Present}), 1, 2).Draw(t, "cookies")
	}
	if rapid.IntRange(0, 3).Draw(t, "has others") == 0 {
		r.Match.PathRegex = rapid.SampledFrom([]string{"", "^/a", "a$", "^/[ab]/b$", "B"}).Draw(t, "regex")
		r.Match.Scheme = rapid.SampledFrom([]policies.Scheme{"", policies.SchemeHTTP, policies.SchemeHTTPS}).Draw(t, "scheme")
		r.Match.Plan = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"gold", "free"}), 0, 2, rapid.ID).Draw(t, "plan")
	}
	if rapid.IntRange(0, 3).Draw(t, "has query") == 0 {
		r.Match.Query = rapid.MapOfN(rapid.SampledFrom([]string{"q", "v w"}), rapid.SampledFrom([]string{"1", "ä"}), 1, 2).Draw(t, "query")
	}
	if rapid.IntRange(0, 3).Draw(t, "has client") == 0 {
		r.Match.ClientIP = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	}
	return r
}

func drawRequest(t *rapid.T) *policies.Request {
	r := &policies.Request{
		Host:     rapid.SampledFrom([]string{"", "a.test", "b.a.test", "c.b.a.test", "x.c.b.a.test", "test", "other", "xa.test"}).Draw(t, "request host"),
		Path:     drawPath(t, []string{"a", "b", "c", "d", "A", "B", "a;x=1", "b;", "c%3Bx", "B;x;y", "%C3%A9", "%C3%89;x", "x.a", "x.b.a;v", "x.B.A", ".a"}),
		Scheme:   rapid.SampledFrom([]string{"http", "https"}).Draw(t, "request scheme"),
		Plan:     rapid.SampledFrom([]string{"", "gold", "free"}).Draw(t, "request plan"),
		Method:   rapid.SampledFrom([]string{"GET", "HEAD", "POST", "PURGE", "PUT"}).Draw(t, "method"),
		RawQuery: rapid.SampledFrom([]string{"", "q=1", "v+w=%C3%A4&q=2&q=1", "v%20w=1"}).Draw(t, "request query"),
		ClientIP: rapid.SampledFrom([]netip.Addr{{}, netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("::1")}).Draw(t, "client"),
	}
	if rapid.Bool().Draw(t, "slash") && r.Path != "/" {
		r.Path += "/"
	}
	r.Header = rapid.MapOfN(rapid.SampledFrom([]string{"X-A", "X-B"}), rapid.SliceOfN(rapid.SampledFrom([]string{"1", "2"}), 0, 2), 0, 2).Draw(t, "header")
	if lines := rapid.SliceOfN(rapid.SampledFrom([]string{"x=1", "x=2; y=1", "y="}), 0, 2).Draw(t, "cookie lines"); len(lines) > 0 {
		r.Header["Cookie"] = lines
	}
	return r
}

func TestMatcherAgreesWithTheRuleAsWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var routes []*policies.Route
		ignoreCase := rapid.Bool().Draw(t, "a route may ignore case")
		for range rapid.IntRange(1, 25).Draw(t, "routes") {
			routes = append(routes, drawRoute(t, ignoreCase))
		}
		m, err := policies.NewMatcher(routes)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			r := drawRequest(t)
			outcome, index, allow := referenceMatch(routes, r)
			got := m.Match(r)
			if got.Outcome != outcome || got.Index != index || !slices.Equal(got.Allow, allow) {
				t.Fatalf("%+v: got %v %d %v, want %v %d %v", r, got.Outcome, got.Index, got.Allow, outcome, index, allow)
			}
			explained, attempts := m.Explain(r)
			if explained.Index != got.Index || explained.Outcome != got.Outcome {
				t.Fatalf("Explain found %d, Match %d", explained.Index, got.Index)
			}
			why := map[int]bool{} // whether a route has an attempt, and one that matched
			for _, a := range attempts {
				why[a.Index] = why[a.Index] || a.Why == ""
			}
			for i := range routes {
				if matched, listed := why[i]; !listed || matched != (i == index) {
					t.Fatalf("%+v: Explain says of route %d: listed %t, matched %t; want matched %t", r, i, listed, matched, i == index)
				}
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 1_000, 10_000} {
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			var routes []*policies.Route
			for i := range n {
				routes = append(routes, route(fmt.Sprintf("/service%d/items/:id/*", i), methods("GET"), hosts(fmt.Sprintf("h%d.example.com", i%7), "*.example.org")))
			}
			routes = append(routes, route("/*"))
			m := matcher(b, routes...)
			r := &policies.Request{Host: "a.b.example.org", Path: fmt.Sprintf("/service%d/items/42/parts/7", n/2), Method: "GET"}
			b.ReportAllocs()
			for b.Loop() {
				if got := m.Match(r); got.Index != n/2 {
					b.Fatal(got.Index)
				}
			}
		})
	}
}
