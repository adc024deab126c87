package policies

import "testing"

func TestMayTakeFindsWhatSomeRequestForTheURLWouldTake(t *testing.T) {
	t.Parallel()
	p, problems := Parse("headgate.yaml", []byte(`
version: 1
upstreams: {app: {servers: ["http://127.0.0.1:9001"]}}
caches: {pages: {ttl: 1m}}
defaults: {upstream: app}
routes:
  - {name: login, path: /login}
  - {name: post, path: /form, methods: [POST]}
  - {name: beta, path: /beta, cache: pages, match: {headers: {X-Beta: "1"}}}
  - {name: plain, path: /beta}
  - {name: tenant, host: "*.shop.example", path: /t/*, cache: pages, ignore_case: true}
  - {name: queries, path: /q/:id, methods: [QUERY], cache: pages}
  - {name: rest, path: /*, methods: [GET], cache: pages}
  - {name: api, host: api.example, path: /*}
`), LoadOptions{})
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	m, err := NewMatcher(p.Routes)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		host, path string
		want       bool
	}{
		{"a", "/login", false},
		{"a", "/login/", false},
		{"a", "/login;x", false},
		{"a", "/form", true}, // a GET of it goes to rest
		{"a", "/beta", true}, // with the header
		{"a", "/other", true},
		{"a", "/", true},
		{"a.shop.example", "/T/x", true},
		{"api.example", "/other", false}, // its host's route takes all
		{"api.example", "/q/7", false},
		{"a", "/q/7", true},
	} {
		got := m.MayTake(tt.host, tt.path, []string{"GET", "HEAD", "QUERY"}, func(r *Route) bool { return r.Cache != "" })
		if got != tt.want {
			t.Errorf("%s%s: %t", tt.host, tt.path, got)
		}
	}
	if m.MayTake("a", "/q/7", []string{"QUERY"}, func(r *Route) bool { return r.Name == "rest" }) {
		t.Error("a QUERY goes to the route that names it")
	}
}
