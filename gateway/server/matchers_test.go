package server_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/pipeline"
)

// A route may ask for a plan, by the API key that the request carries: the key itself goes no further, and a plan that an app names
// for a session does not count.
func TestARouteByPlan(t *testing.T) {
	t.Parallel()
	app := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("Headgate-Client")+"|"+r.Header.Get("X-Api-Key")+r.Header.Get("Authorization"))
	})
	g := start(t, fmt.Sprintf(`
upstreams: {shop: {servers: [%s]}}
clients: {acme: {key_sha256: 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8, plan: gold}}
defaults: {upstream: shop}
routes:
  - {path: /*, match: {plan: gold}, response_headers: {set: {X-Route: gold}}}
  - {path: /*, response_headers: {set: {X-Route: rest}}}
`, app.URL))
	for _, tt := range []struct{ header, value, route, text string }{
		{"X-Api-Key", "password", "gold", "acme|"},
		{"Authorization", "Bearer password", "gold", "acme|"},
		{"X-Api-Key", "Password", "rest", "|Password"},
		{"Headgate-Plan", "gold", "rest", "|"},
		{"Headgate-Client", "acme", "rest", "|"},
	} {
		if a := g.do("GET", "/x", tt.header, tt.value); a.Header.Get("X-Route") != tt.route || a.text != tt.text {
			t.Errorf("%s: %s: route %q, app got %q", tt.header, tt.value, a.Header.Get("X-Route"), a.text)
		}
	}
	e, err := g.Explain(t.Context(), pipeline.Question{Method: "GET", URL: "/x"})
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Others) != 1 || !strings.Contains(e.Others[0].Why, "no API key of plan gold") {
		t.Errorf("explain says %+v", e.Others)
	}
}

// A URL is purged without a word of its scheme, headers and cookies, and no route of another path_regex makes the purge wait.
func TestPurgesKnowSuffixes(t *testing.T) {
	t.Parallel()
	app := appFunc(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "styles") })
	g := start(t, fmt.Sprintf(`
upstreams: {shop: {servers: [%s]}}
caches: {css: {ttl: 1h, ignore_cookies: [theme]}}
defaults: {upstream: shop}
routes:
  - {path: "/a/*.css", cache: css, match: {path_regex: "^/a/[a-z.]+$", cookies: {theme: present}}}
  - {path: /*}
`, app.URL))
	hit := func() bool {
		return strings.Contains(g.do("GET", "/a/x.css", "Cookie", "theme=dark", "Host", "shop.example").Header.Get("Cache-Status"), "hit")
	}
	if hit(); !hit() {
		t.Fatal("not cached")
	}
	if a := g.adminSend("POST", "/purge", strings.NewReader(`{"url": "http://shop.example/a/x.css"}`), "Authorization", "Bearer operator"); a.StatusCode/100 != 2 {
		t.Fatal(a.StatusCode, a.text)
	}
	if hit() {
		t.Error("the purge left it")
	}
}
