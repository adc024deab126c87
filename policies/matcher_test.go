package policies_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/policies"
)

// route makes a route from a line: methods and hosts are optional.
func route(path string, change ...func(*policies.Route)) *policies.Route {
	r := &policies.Route{Name: path, Path: []string{path}}
	for _, c := range change {
		c(r)
	}
	return r
}

func methods(m ...string) func(*policies.Route) { return func(r *policies.Route) { r.Methods = m } }
func hosts(h ...string) func(*policies.Route)   { return func(r *policies.Route) { r.Host = h } }
func name(n string) func(*policies.Route)       { return func(r *policies.Route) { r.Name = n } }
func header(k, v string) func(*policies.Route) {
	return func(r *policies.Route) { r.Match.Headers = map[string]string{k: v} }
}
func query(k, v string) func(*policies.Route) {
	return func(r *policies.Route) { r.Match.Query = map[string]string{k: v} }
}
func ignoreCase(r *policies.Route) { r.IgnoreCase = true }
func client(networks ...string) func(*policies.Route) {
	return func(r *policies.Route) {
		for _, n := range networks {
			r.Match.ClientIP = append(r.Match.ClientIP, netip.MustParsePrefix(n))
		}
	}
}

func matcher(t testing.TB, routes ...*policies.Route) *policies.Matcher {
	t.Helper()
	m, err := policies.NewMatcher(routes)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	get := func(host, path string) policies.Request {
		return policies.Request{Host: host, Path: path, Method: "GET"}
	}
	type want struct {
		request policies.Request
		route   string // "" is 404
	}
	tests := []struct {
		name   string
		routes []*policies.Route
		wants  []want
	}{
		{"an exact host wins over wildcards, the longest wildcard over others, any over none",
			[]*policies.Route{
				route("/*", name("none")),
				route("/*", hosts("*.com"), name("com")),
				route("/*", hosts("*.example.com"), name("wild")),
				route("/*", hosts("a.example.com"), name("exact")),
			},
			[]want{
				{get("a.example.com", "/"), "exact"},
				{get("b.example.com", "/"), "wild"},
				{get("x.a.example.com", "/"), "wild"},
				{get("example.com", "/"), "com"},
				{get("com", "/"), "none"},
				{get("", "/"), "none"},
				{get("[::1]", "/"), "none"},
				{get("aexample.com", "/"), "com"},
			}},
		{"the host counts before the path",
			[]*policies.Route{route("/a/b", name("path")), route("/*", hosts("h.test"), name("host"))},
			[]want{{get("h.test", "/a/b"), "host"}, {get("i.test", "/a/b"), "path"}}},
		{"a static segment wins over a parameter, and that over a star, from the left",
			[]*policies.Route{
				route("/*"), route("/:a/b"), route("/a/*"), route("/a/:b"), route("/a/b"), route("/:a/:b/c"),
			},
			[]want{
				{get("", "/a/b"), "/a/b"},
				{get("", "/a/c"), "/a/:b"},
				{get("", "/x/b"), "/:a/b"},
				{get("", "/a/x/y"), "/a/*"},
				{get("", "/a/x/c"), "/a/*"}, // the first segment decides before the third
				{get("", "/x/y/c"), "/:a/:b/c"},
				{get("", "/x/y"), "/*"},
			}},
		{"a dead end in a more specific branch is left again",
			[]*policies.Route{route("/a/b/c"), route("/a/:x/d"), route("/:y/b/e"), route("/a/*")},
			[]want{
				{get("", "/a/b/c"), "/a/b/c"},
				{get("", "/a/b/d"), "/a/:x/d"},
				{get("", "/z/b/e"), "/:y/b/e"},
				{get("", "/a/b/e"), "/a/*"},
				{get("", "/z/b/f"), ""},
			}},
		{"what does not fit is skipped, across hosts too",
			[]*policies.Route{
				route("/x", hosts("h.test"), methods("POST"), name("post")),
				route("/x", hosts("*.test"), header("X-A", "1"), name("header")),
				route("/x", name("rest")),
			},
			[]want{{get("h.test", "/x"), "rest"}}},
		{"a named method wins over any, then the most matchers, then the order in the file",
			[]*policies.Route{
				route("/x", name("any")),
				route("/x", header("X-A", "1"), name("any-header")),
				route("/x", methods("GET"), name("get")),
				route("/x", methods("GET"), name("get-again")),
			},
			[]want{
				{policies.Request{Path: "/x", Method: "GET", Header: map[string][]string{"X-A": {"1"}}}, "get"},
				{policies.Request{Path: "/x", Method: "PURGE", Header: map[string][]string{"X-A": {"1"}}}, "any-header"},
				{policies.Request{Path: "/x", Method: "PURGE"}, "any"},
			}},
		{"a parameter is one segment and never none",
			[]*policies.Route{route("/u/:id"), route("/u/:id/posts")},
			[]want{{get("", "/u/1"), "/u/:id"}, {get("", "/u/1/"), "/u/:id"}, {get("", "/u"), ""}, {get("", "/u/"), ""},
				{get("", "/u/1/posts"), "/u/:id/posts"}, {get("", "/u/1/2"), ""}, {get("", "/u/a%2Fb"), "/u/:id"}}},
		{"a star also matches the path before it",
			[]*policies.Route{route("/x/*")},
			[]want{{get("", "/x"), "/x/*"}, {get("", "/x/"), "/x/*"}, {get("", "/x/y/z"), "/x/*"}, {get("", "/xy"), ""}, {get("", "/"), ""}}},
		{"a trailing slash is ignored on both sides",
			[]*policies.Route{route("/a/"), route("/b")},
			[]want{{get("", "/a"), "/a/"}, {get("", "/a/"), "/a/"}, {get("", "/b/"), "/b"}}},
		{"GET includes HEAD, and no methods means any",
			[]*policies.Route{route("/g", methods("GET")), route("/p", methods("POST")), route("/any")},
			[]want{
				{policies.Request{Path: "/g", Method: "HEAD"}, "/g"},
				{policies.Request{Path: "/any", Method: "LOCK"}, "/any"},
				{policies.Request{Path: "/any", Method: "FROBNICATE"}, "/any"},
			}},
		{"all other matchers must fit",
			[]*policies.Route{
				route("/q", query("v", "2 3"), name("query")),
				route("/q", client("10.0.0.0/8", "2001:db8::/32"), name("client")),
			},
			[]want{
				{policies.Request{Path: "/q", RawQuery: "a=1&v=2+3"}, "query"},
				{policies.Request{Path: "/q", RawQuery: "v=9&v=2%203"}, "query"},
				{policies.Request{Path: "/q", RawQuery: "v=%zz&w=2+3"}, ""},
				{policies.Request{Path: "/q", ClientIP: netip.MustParseAddr("10.9.9.9")}, "client"},
				{policies.Request{Path: "/q", ClientIP: netip.MustParseAddr("2001:db8::1")}, "client"},
				{policies.Request{Path: "/q", ClientIP: netip.MustParseAddr("11.0.0.1")}, ""},
			}},
		{"one line of a header is enough",
			[]*policies.Route{route("/*", header("x-beta", "1"))},
			[]want{
				{policies.Request{Path: "/", Header: map[string][]string{"X-Beta": {"0", "1"}}}, "/*"},
				{policies.Request{Path: "/", Header: map[string][]string{"X-Beta": {"0,1"}}}, ""},
			}},
		{"patterns are normalised as requests are",
			[]*policies.Route{route("/caf%c3%a9/%7Ejoe"), route("/a b")},
			[]want{{get("", "/caf%C3%A9/~joe"), "/caf%c3%a9/%7Ejoe"}, {get("", "/a%20b"), "/a b"}}},
		{"the parameters of a segment do not count",
			[]*policies.Route{route("/login"), route("/a/:id/b"), route("/a/*"), route("/*")},
			[]want{
				{get("", "/login;a=1"), "/login"}, {get("", "/login;"), "/login"}, {get("", "/login;a=1/"), "/login"},
				{get("", "/login%3Ba=1"), "/login"}, {get("", "/login;a/b;c"), "/*"}, {get("", "/loginx;a"), "/*"},
				{get("", "/a;x=1/7;y/b;z"), "/a/:id/b"}, {get("", "/a;x=1/7;y/c"), "/a/*"}, {get("", "/a;x"), "/a/*"},
			}},
		{"case counts where a route does not ignore it",
			[]*policies.Route{route("/Login"), route("/caf%C3%A9/x"), route("/*")},
			[]want{{get("", "/Login"), "/Login"}, {get("", "/login"), "/*"}, {get("", "/LOGIN;a"), "/*"}, {get("", "/caf%C3%89/x"), "/*"}}},
		{"and does not where it does",
			[]*policies.Route{route("/Login", ignoreCase), route("/caf%C3%A9/:Id", ignoreCase), route("/Exact"), route("/*")},
			[]want{
				{get("", "/Login"), "/Login"}, {get("", "/LOGIN"), "/Login"}, {get("", "/login;a"), "/Login"}, {get("", "/log%C4%B1n"), "/Login"},
				{get("", "/CAF%C3%89/X"), "/caf%C3%A9/:Id"}, {get("", "/Exact"), "/Exact"}, {get("", "/exact"), "/*"},
			}},
		{"a route that ignores case and one that does not are equally specific",
			[]*policies.Route{
				route("/a/:x", name("sensitive param")), route("/A/b", ignoreCase, name("insensitive static")),
				route("/c", name("sensitive first")), route("/C", ignoreCase, name("insensitive second")),
				route("/D", ignoreCase, name("insensitive first")), route("/d", methods("GET"), name("sensitive with a method")),
			},
			[]want{
				{get("", "/a/b"), "insensitive static"}, {get("", "/a/c"), "sensitive param"}, {get("", "/A/c"), ""},
				{get("", "/c"), "sensitive first"}, {get("", "/C"), "insensitive second"},
				{get("", "/d"), "sensitive with a method"}, {get("", "/D"), "insensitive first"},
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := matcher(t, tt.routes...)
			for _, w := range tt.wants {
				got := m.Match(&w.request)
				name := ""
				if got.Outcome == policies.Found {
					name = got.Route.Name
				}
				if name != w.route {
					t.Errorf("%s %s%s: got route %q, want %q", w.request.Method, w.request.Host, w.request.Path, name, w.route)
				}
			}
		})
	}
}

func TestPreflightsTakeTheRouteThatTheyAskLeaveFor(t *testing.T) {
	t.Parallel()
	cors := func(r *policies.Route) { r.CORS = &policies.CORS{} }
	m := matcher(t,
		route("/a", methods("GET", "POST"), cors, name("cors")),
		route("/a", methods("DELETE"), name("no cors")),
		route("/b", methods("GET"), name("plain")),
		route("/b", methods("OPTIONS"), name("options")),
	)
	preflight := func(method string) map[string][]string {
		return map[string][]string{"Origin": {"https://a.example"}, "Access-Control-Request-Method": {method}}
	}
	tests := []struct {
		path   string
		header map[string][]string
		want   int
	}{
		{"/a", preflight("POST"), 0},
		{"/a", preflight("DELETE"), -1}, // the app answers for itself, if it is asked at all
		{"/a", nil, -1},
		{"/a", map[string][]string{"Access-Control-Request-Method": {"POST"}}, -1},
		{"/b", preflight("GET"), 3},
	}
	for _, tt := range tests {
		r := &policies.Request{Path: tt.path, Method: "OPTIONS", Header: tt.header}
		got := m.Match(r)
		if got.Index != tt.want {
			t.Errorf("%s %v: got route %d, want %d", tt.path, tt.header, got.Index, tt.want)
		}
		if explained, _ := m.Explain(r); explained.Index != got.Index || explained.Outcome != got.Outcome {
			t.Errorf("%s %v: Explain says %d", tt.path, tt.header, explained.Index)
		}
	}
}

func TestMethodNotAllowedOnlyWherePathsFitAndNoMethodDoes(t *testing.T) {
	t.Parallel()
	m := matcher(t,
		route("/a", methods("POST", "GET")),
		route("/a", methods("DELETE", "POST")),
		route("/b", methods("GET"), header("X-A", "1")),
		route("/b", methods("POST")),
		route("/c", hosts("h.test"), methods("PUT")),
		route("/c", methods("PATCH")),
		route("/d", methods("PUT"), header("X-A", "1")),
	)
	tests := []struct {
		method, host, path string
		outcome            policies.Outcome
		allow              []string
	}{
		{"PATCH", "", "/a", policies.MethodNotAllowed, []string{"DELETE", "GET", "HEAD", "POST"}},
		{"HEAD", "", "/a", policies.Found, nil},
		{"GET", "", "/b", policies.NotFound, nil}, // a method fits, its header does not
		{"PUT", "", "/b", policies.MethodNotAllowed, []string{"POST"}},
		{"GET", "h.test", "/c", policies.MethodNotAllowed, []string{"PATCH", "PUT"}},
		{"PATCH", "h.test", "/c", policies.Found, nil},
		{"GET", "i.test", "/c", policies.MethodNotAllowed, []string{"PATCH"}},
		{"GET", "", "/d", policies.NotFound, nil}, // PUT would not do without the header
		{"GET", "", "/nowhere", policies.NotFound, nil},
	}
	for _, tt := range tests {
		got := m.Match(&policies.Request{Method: tt.method, Host: tt.host, Path: tt.path})
		if got.Outcome != tt.outcome || !cmp.Equal(got.Allow, tt.allow) {
			t.Errorf("%s %s%s: got %v %v, want %v %v", tt.method, tt.host, tt.path, got.Outcome, got.Allow, tt.outcome, tt.allow)
		}
	}
}

func TestRewritesTakeWhatTheRoutesPathMatched(t *testing.T) {
	t.Parallel()
	m := matcher(t, route("/u/:id/files/*"))
	got := m.Match(&policies.Request{Path: "/u/4%2F2/files/a/b%20c/"})
	if id, rest := got.Param("id"), got.Param("*"); id != "4%2F2" || rest != "a/b%20c/" {
		t.Errorf("got id %q and * %q", id, rest)
	}
	tests := []struct{ template, want string }{
		{"/users/:id/*", "/users/4%2F2/a/b%20c/"},
		{"https://h.test:8443/:id", "https://h.test:8443/4%2F2"},
		{"/:id-x/:idx", "/4%2F2-x/"},
		{"/*?from=:id", "/a/b%20c/?from=:id"},
		{"/plain/:", "/plain/:"},
		{"/a*/b", "/a*/b"},
	}
	for _, tt := range tests {
		if s := got.Expand(tt.template); s != tt.want {
			t.Errorf("Expand(%q) = %q, want %q", tt.template, s, tt.want)
		}
	}
}

func TestParametersOfSegmentsAreBoundAsTheyWereSent(t *testing.T) {
	t.Parallel()
	m := matcher(t, route("/u/:Id/files/*", ignoreCase), route("/api/*"))
	got := m.Match(&policies.Request{Path: "/U;a/4;B=2/Files;c/x;d/Y%3B/"})
	if id, rest := got.Param("Id"), got.Param("*"); id != "4;B=2" || rest != "x;d/Y%3B/" {
		t.Errorf("got Id %q and * %q", id, rest)
	}
	for _, tt := range []struct{ path, prefix, rest string }{
		{"/U;a/4;B=2/Files;c/x;d", "/u", "/4;B=2/Files;c/x;d"},
		{"/api", "/api", "/"},
		{"/api/", "/api", "/"},
		{"/api;v=1", "/api", "/"},
		{"/api;v=1/x;y", "/api", "/x;y"},
		{"/api/api/x", "/api/", "/api/x"},
	} {
		if rest, ok := m.Match(&policies.Request{Path: tt.path}).StripPrefix(tt.prefix); rest != tt.rest || !ok {
			t.Errorf("%s without %s: %s, %t, want %s", tt.path, tt.prefix, rest, ok, tt.rest)
		}
	}
	for _, prefix := range []string{"/ap", "/API", "/api/x"} {
		if rest, ok := m.Match(&policies.Request{Path: "/api/y"}).StripPrefix(prefix); rest != "/api/y" || ok {
			t.Errorf("without %s: %s, %t", prefix, rest, ok)
		}
	}
}

func TestWhatAStarMatchedMayBeNothing(t *testing.T) {
	t.Parallel()
	m := matcher(t, route("/x/*"))
	for path, want := range map[string]string{"/x": "/y/", "/x/": "/y/", "/x/a": "/y/a", "/x/a/": "/y/a/"} {
		if got := m.Match(&policies.Request{Path: path}).Expand("/y/*"); got != want {
			t.Errorf("%s becomes %s, want %s", path, got, want)
		}
	}
}

func TestExplainSaysOfEachRouteWhyItDidNotMatch(t *testing.T) {
	t.Parallel()
	m := matcher(t,
		route("/x", methods("POST")),
		route("/x", header("X-Beta", "1")),
		route("/x", query("v", "2")),
		route("/x", client("10.0.0.0/8")),
		route("/y"),
		route("/x", hosts("h.test")),
		route("/:any"),
		route("/*"),
	)
	r := &policies.Request{Path: "/x", Method: "GET", Host: "i.test", ClientIP: netip.MustParseAddr("192.0.2.1")}
	match, attempts := m.Explain(r)
	if match.Index != 6 {
		t.Fatalf("matched route %d, want 6", match.Index)
	}
	want := []policies.Attempt{
		{Index: 0, Pattern: "/x", Why: `method "GET" is not POST`},
		{Index: 1, Pattern: "/x", Why: `header X-Beta is not "1"`},
		{Index: 2, Pattern: "/x", Why: `query parameter v is not "2"`},
		{Index: 3, Pattern: "/x", Why: `client 192.0.2.1 is not in 10.0.0.0/8`},
		{Index: 6, Pattern: "/:any", Why: ""},
		{Index: 4, Pattern: "/y", Why: `path "/x" is not /y`},
		{Index: 5, Pattern: "/x", Why: `host "i.test" is not h.test`},
		{Index: 7, Pattern: "/*", Why: `a more specific route matches`},
	}
	if diff := cmp.Diff(want, attempts); diff != "" {
		t.Error(diff)
	}
}

func TestSuffixesAndOtherConditions(t *testing.T) {
	t.Parallel()
	regex := func(expression string) func(*policies.Route) {
		return func(r *policies.Route) { r.Match.PathRegex = expression }
	}
	cookie := func(name, value string) func(*policies.Route) {
		return func(r *policies.Route) { r.Match.Cookies = map[string]string{name: value} }
	}
	https := func(r *policies.Route) { r.Match.Scheme = policies.SchemeHTTPS }
	gold := func(r *policies.Route) { r.Match.Plan = []string{"gold"} }
	tests := []struct {
		routes []*policies.Route
		wants  map[string]string // method, path and more of a request, and its route; "" is 404
	}{
		{[]*policies.Route{route("*.php"), route("*.tar.gz"), route("*.gz"), route("/*"), route("/assets/*"), route("/assets/*.css"), route("/u/:id/*.css"), route("/admin/:x")},
			map[string]string{
				"/index.php": "*.php", "/a/b/index.php": "*.php", "/index.php/": "*.php", "/index.php;v=1": "*.php", "/index%2Ephp": "*.php", "/.php": "*.php",
				"/index.php/x": "/*", "/index.php5": "/*", "/index.PHP": "/*", "/x.phpphp": "/*",
				"/a.tar.gz": "*.tar.gz", "/a.gz": "*.gz", "/tar.gz": "*.gz",
				"/assets/a.css": "/assets/*.css", "/assets/a/b.css": "/assets/*.css", "/assets/a.php": "/assets/*", "/assets": "/assets/*", "/a.css": "/*", "/assets/.css": "/assets/*.css",
				"/u/42/x.css": "/u/:id/*.css", "/u/42.css": "/*", "/admin/x.php": "/admin/:x", "/admin/y/x.php": "*.php",
				"/a%2Fb.php": "*.php", // %2F is part of its segment
			}},
		{[]*policies.Route{route("*.PhP", ignoreCase), route("/x/*A9"), route("/y/*%c3%a9", ignoreCase)},
			map[string]string{"/a.php": "*.PhP", "/a.PHP;x": "*.PhP", "/x/A9": "/x/*A9", "/x/%C3%A9": "", "/x/%A9": "", "/y/caf%C3%89": "/y/*%c3%a9"}},
		{[]*policies.Route{route("/*", regex("^/img/[0-9]+\\.(jpg|png)$"), name("img")), route("/*", regex("admin"), methods("POST"), name("post")), route("/Old/*", regex("/X$"), ignoreCase, name("old"))},
			map[string]string{
				"/img/1.jpg": "img", "/img/1.jpg/": "img", "/img;a/1.jpg;b": "img", "/img/%31.jpg": "img", "/img/x.jpg": "", "/img/1.jpg/x": "", "/a/img/1.jpg": "",
				"POST /img/2.jpg": "img", "POST /x-admin-y": "post", "GET /x-admin-y": "405", "POST /other": "", "/OLD/a/x": "old", "/old/xy": "",
			}},
		{[]*policies.Route{
			route("/*", https, name("https")), route("/*", cookie("theme", "dark"), name("dark")), route("/*", cookie("beta", policies.Present), header("X-A", policies.Present), name("beta")),
			route("/*", gold, name("gold"))},
			map[string]string{
				"/ https": "https", "/ http": "", "/ theme=dark": "dark", "/ theme=light": "", "/ xtheme=dark": "", "/ x=1;theme=\"dark\"": "dark", "/ theme": "",
				"/ beta=": "", "/ beta= X-A": "beta", "/ theme=dark;beta=1 X-A https": "beta", "/ gold": "gold", "/ silver": "",
			}},
	}
	for _, tt := range tests {
		m := matcher(t, tt.routes...)
		for text, want := range tt.wants {
			r := &policies.Request{Method: "GET", Scheme: "http", Header: map[string][]string{}}
			for _, word := range strings.Fields(text) {
				switch {
				case word[0] == '/':
					normal, err := httpx.NormalizePath(word)
					if err != nil {
						t.Fatal(err)
					}
					r.Path = normal.RawPath
				case word == "https":
					r.Scheme = word
				case word == "gold" || word == "silver":
					r.Plan = word
				case word == "X-A":
					r.Header[word] = []string{"anything"}
				case word == "GET" || word == "POST":
					r.Method = word
				case word != "http":
					r.Header["Cookie"] = []string{word}
				}
			}
			got := ""
			if match := m.Match(r); match.Outcome == policies.MethodNotAllowed {
				got = "405"
			} else if match.Outcome == policies.Found {
				got = match.Route.Name
			}
			if got != want {
				t.Errorf("%s: route %q, want %q", text, got, want)
			}
		}
	}
}

func TestWhatAStarWithASuffixMatched(t *testing.T) {
	t.Parallel()
	m := matcher(t, route("/u/:id/*.css"))
	got := m.Match(&policies.Request{Path: "/u/42/a%20b/c.css;v=1"})
	if got.Param("id") != "42" || got.Param("*") != "a%20b/c.css;v=1" || got.Expand("/static/:id/*") != "/static/42/a%20b/c.css;v=1" {
		t.Errorf("id %q, * %q, expanded %q", got.Param("id"), got.Param("*"), got.Expand("/static/:id/*"))
	}
}

func TestMatchingAllocatesNothing(t *testing.T) {
	m := matcher(t, route("/u/:id/files/*", hosts("*.example.com"), methods("GET"), header("X-A", "1"), query("v", "2")), route("/*"))
	r := &policies.Request{Host: "a.example.com", Path: "/u/42/files/x", Method: "GET", RawQuery: "a=1&v=2", Header: map[string][]string{"X-A": {"1"}}}
	if n := testing.AllocsPerRun(100, func() {
		if m.Match(r).Index != 0 {
			t.Fatal("no match")
		}
	}); n != 0 {
		t.Errorf("%v allocations for a match, want 0", n)
	}
	m = matcher(t, route("/u/:id/files/*", ignoreCase), route("/*"))
	r = &policies.Request{Path: "/U;a/42/FILES/x", Method: "GET"}
	if n := testing.AllocsPerRun(100, func() {
		if m.Match(r).Index != 0 {
			t.Fatal("no match")
		}
	}); n != 0 {
		t.Errorf("%v allocations for a match without regard to case, want 0", n)
	}
	m = matcher(t, route("/u/*.css", func(r *policies.Route) {
		r.Match = policies.Conditions{PathRegex: "^/u/[a-z]", Cookies: map[string]string{"theme": "dark"}, Plan: []string{"gold"}, Scheme: policies.SchemeHTTPS}
	}), route("/*"))
	r = &policies.Request{Path: "/u/files/x.css", Method: "GET", Scheme: "https", Plan: "gold", Header: map[string][]string{"Cookie": {"a=1; theme=dark"}}}
	if n := testing.AllocsPerRun(100, func() {
		if m.Match(r).Index != 0 {
			t.Fatal("no match")
		}
	}); n != 0 {
		t.Errorf("%v allocations for a match of a suffix, an expression and a cookie, want 0", n)
	}
}
