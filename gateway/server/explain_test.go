package server_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/gateway/server"
)

// TestExplainNamesTheStageThatAnswers: what the gateway answers itself is told with the
// status that the client is given, and the stage that gives it.
func TestExplainNamesTheStageThatAnswers(t *testing.T) {
	t.Parallel()
	g := start(t, `
upstreams: {shop: {servers: ["http://127.0.0.1:9"]}}
clients: {acme: {key_sha256: 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8, plan: gold}}
limits:
  bucket: {algorithm: token_bucket, requests: 100, window: 1m, plans: {gold: 1000}}
  drip: {algorithm: token_bucket, requests: 5, window: 1s, burst: 10}
defaults: {upstream: shop}
routes:
  - {name: api, path: /api, limits: bucket, cors: {allow_origins: "https://page.test"}}
  - {name: both, path: /both, session: required, client: required}
  - {name: mine, path: /mine, session: required}
  - {name: closed, path: /closed, respond: {status: 403}}
  - {name: moved, path: /moved, redirect: {to: "https://new.test/", status: 308}}
  - {name: later, path: /later, maintenance: on}
  - {name: drip, path: /drip, limits: drip}
  - {name: upload, path: /upload, max_body: 1KiB}
`, func(o *server.Options) {})
	for _, tt := range []struct {
		name, method, url string
		header            http.Header
		status            int
		stage             string
	}{
		{"a preflight that the gateway answers", "OPTIONS", "/api", http.Header{"Origin": {"https://page.test"}, "Access-Control-Request-Method": {"POST"}}, 204, pipeline.StageCORS},
		{"CONNECT", "CONNECT", "http://x.test/", nil, 405, pipeline.StageNormalise},
		{"a browser without session or key", "GET", "/both", http.Header{"Accept": {"text/html"}}, 303, pipeline.StageAuthorize},
		{"a script without session or key", "GET", "/both", nil, 401, pipeline.StageAuthorize},
		{"a script without a session", "GET", "/mine", nil, 401, pipeline.StageAuthorize},
		{"a browser without a session", "GET", "/mine", http.Header{"Accept": {"text/html"}}, 303, pipeline.StageAuthorize},
		{"a fixed response", "GET", "/closed", nil, 403, pipeline.StageAnswer},
		{"a redirect", "GET", "/moved", nil, 308, pipeline.StageAnswer},
		{"maintenance", "GET", "/later", nil, 503, pipeline.StageMaintenance},
		{"a body that is too large", "POST", "/upload", http.Header{"Content-Length": {"5000"}}, 413, pipeline.StageBody},
		{"a path that could be read as another", "GET", "/a/..%2f", nil, 400, pipeline.StageNormalise},
		{"no route", "GET", "/none", nil, 404, pipeline.StageRoute},
		{"the app answers", "GET", "/api", nil, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := g.Explain(context.Background(), pipeline.Question{Method: tt.method, URL: tt.url, Header: tt.header})
			if err != nil {
				t.Fatal(err)
			}
			if e.Status != tt.status || e.Stage != tt.stage || (e.Status != 0) != (e.Refused != "") {
				t.Errorf("%d at %q: %s", e.Status, e.Stage, e.Refused)
			}
		})
	}
}

// TestExplainTellsATokenBucketsRateAndSize for the client's plan.
func TestExplainTellsATokenBucketsRateAndSize(t *testing.T) {
	t.Parallel()
	g := start(t, `
upstreams: {shop: {servers: ["http://127.0.0.1:9"]}}
clients: {acme: {key_sha256: 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8, plan: gold}}
limits:
  even: {algorithm: token_bucket, requests: 100, window: 1m, plans: {gold: 1000}}
  drip: {algorithm: token_bucket, requests: 5, window: 1s, burst: 10, plans: {gold: 50}}
routes: [{name: api, path: /, upstream: shop, limits: [even, drip]}]
`)
	for _, tt := range []struct {
		key  string
		want [2][3]int64 // by limit: requests, burst where it is not as many, remaining
	}{
		{"", [2][3]int64{{100, 0, 100}, {5, 10, 10}}},
		{"password", [2][3]int64{{1000, 0, 1000}, {50, 100, 100}}},
	} {
		e, err := g.Explain(context.Background(), pipeline.Question{URL: "/", Header: http.Header{"X-Api-Key": {tt.key}}})
		if err != nil {
			t.Fatal(err)
		}
		for i, l := range e.Limits {
			if got := [3]int64{l.Requests, l.Burst, l.Remaining}; got != tt.want[i] {
				t.Errorf("key %q, %s: %v, not %v", tt.key, l.Name, got, tt.want[i])
			}
		}
	}
}

func TestExplainSaysHowLongALoginMayLast(t *testing.T) {
	t.Parallel()
	for more, want := range map[string]string{
		"":                         "login: the app may log a user in",
		"session: {remember: 30d}": "login: the app may log a user in, for up to 30d by Headgate-Login-Lifetime",
	} {
		g := start(t, more+"\nupstreams: {shop: {servers: [\"http://127.0.0.1:1\"]}}\nroutes: [{path: /*, session: login, upstream: shop}]\n")
		if a := g.admin("GET", "/explain?method=POST&url=http://shop.example/login&ip=192.0.2.7"); !strings.Contains(a.text, `"`+want+`"`) {
			t.Errorf("%d %s", a.StatusCode, a.text)
		}
	}
}

// TestExplainPutsALimitOfNoneFirst, as serve does, whatever the others say.
func TestExplainPutsALimitOfNoneFirst(t *testing.T) {
	t.Parallel()
	g := start(t, `
upstreams: {shop: {servers: ["`+app(t, "a").URL+`"]}}
limits:
  one: {requests: 1, window: 1h}
  none: {requests: 0, window: 1h, plans: {gold: 5}}
routes: [{path: /one, upstream: shop, limits: one}, {path: /both, upstream: shop, limits: [one, none]}]
`)
	g.do("GET", "/one")
	e, err := g.Explain(context.Background(), pipeline.Question{Method: "GET", URL: "/both", IP: "127.0.0.1"})
	if got := g.do("GET", "/both").StatusCode; err != nil || e.Status != got || got != http.StatusForbidden {
		t.Errorf("explained %d, served %d; %v", e.Status, got, err)
	}
}

// TestExplainTakesAnEmptyHost for what the client sends, not for none.
func TestExplainTakesAnEmptyHost(t *testing.T) {
	t.Parallel()
	g := start(t, `
upstreams: {shop: {servers: ["`+app(t, "a").URL+`"]}}
routes: [{path: /x, upstream: shop}]
`)
	e, err := g.Explain(context.Background(), pipeline.Question{Method: "GET", URL: "http://a.test/x", Header: http.Header{"Host": {""}}})
	if err != nil || e.Host != "" {
		t.Errorf("the host is %q, %v", e.Host, err)
	}
}
