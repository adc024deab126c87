package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
)

func TestOperatorsAreToldWhoseMistakeItIs(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	g := start(t, `
redis: {url: "`+redis.URL+`", timeout: 50s}
upstreams: {shop: {servers: [`+app(t, "a").URL+`]}}
limits: {per-ip: {requests: 10, window: 1h}}
caches: {pages: {ttl: 1m}}
routes: [{path: /*, upstream: shop, limits: per-ip, cache: pages}]
`)
	for body, want := range map[string]int{
		`{"url": "/no/host"}`: 400, `{"prefix": "http://a/?q"}`: 400, `{"url": "http://a/x"}`: 204, `{"prefix": "http://a"}`: 204,
	} {
		if a := g.adminSend("POST", "/purge", strings.NewReader(body)); a.StatusCode != want {
			t.Errorf("%s: %d, want %d: %s", body, a.StatusCode, want, a.text)
		}
	}
	for _, target := range []string{"/livez", "/readyz"} {
		if a := g.admin("HEAD", target); a.StatusCode != 200 {
			t.Errorf("HEAD %s: %d", target, a.StatusCode)
		}
	}
	redis.Kill()
	for _, ask := range [][2]string{{"GET", "/limits/per-ip?key=127.0.0.1"}, {"DELETE", "/limits/per-ip?key=127.0.0.1"}, {"GET", "/sessions?user=1"}} {
		if a := g.admin(ask[0], ask[1]); a.StatusCode != 503 || a.problem(t).Status != 503 {
			t.Errorf("%v without Redis: %d %s", ask, a.StatusCode, a.text)
		}
	}
}

func TestUpstreamsAreShownAsJSONIsWritten(t *testing.T) {
	t.Parallel()
	shop := app(t, "a")
	g := start(t, fmt.Sprintf(anyRoute, shop.URL))
	g.do("GET", "/")
	var shown map[string][]map[string]any
	if err := json.Unmarshal([]byte(g.admin("GET", "/upstreams").text), &shown); err != nil {
		t.Fatal(err)
	}
	s := shown["shop"][0]
	if s["url"] != shop.URL || s["healthy"] != true || s["requests"] != 1. {
		t.Errorf("%v", s)
	}
	for name := range s {
		if name != strings.ToLower(name) || name == "since" || name == "ejected_until" {
			t.Errorf("%s of a server to which nothing has happened is %v", name, s[name])
		}
	}
}

func TestZeroMeansWhatThePolicySays(t *testing.T) {
	t.Parallel()
	slow := app(t, "a")
	slowApp := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/x" {
			<-r.Context().Done() // the gateway has given up
			return
		}
		slowly(100*time.Millisecond, slow.Config.Handler)(w, r)
	})
	g := start(t, `
upstreams:
  shop: {servers: [`+slowApp.URL+`], timeout: 20ms, retries: 0}
  flaky: {servers: ["http://127.0.0.1:1", `+slow.URL+`], retry_budget: 0, ejection: off}
routes:
  - {path: /patient, upstream: shop, timeout: 0s}
  - {path: /flaky, upstream: flaky}
  - {path: /*, upstream: shop}
`)
	if a := g.do("GET", "/x"); a.StatusCode != 504 {
		t.Errorf("the upstream's own timeout: %d", a.StatusCode)
	}
	if a := g.do("GET", "/patient"); a.StatusCode != 200 {
		t.Errorf("timeout: 0s is no bound: %d", a.StatusCode)
	}
	answers := map[int]int{}
	for range 4 {
		answers[g.do("GET", "/flaky").StatusCode]++
	}
	if answers[200] != 2 || answers[502] != 2 {
		t.Errorf("without a budget for retries: %v", answers)
	}
}

func TestRedirectsKeepQueryAndFragmentInOrder(t *testing.T) {
	t.Parallel()
	g := start(t, `
routes:
  - {path: /a/*, redirect: {to: "/b/*#top"}}
  - {path: /c/*, redirect: {to: /*}, encoded_slashes: keep}
  - {path: /d, redirect: {to: "/e?own=1"}}
`)
	for target, want := range map[string]string{
		"/a/x?q=1":              "/b/x?q=1#top",
		"/a":                    "/b/#top",
		"/d?q=1":                "/e?own=1",
		"/c//evil.example":      "/evil.example",
		"/c/%2Fevil.example":    "/%2Fevil.example",
		`/c/\evil.example`:      "/%5Cevil.example",
		"/c/x?q=//a&b;c=%2e#no": "/x?q=//a&b;c=%2e",
	} {
		if a := g.rawTarget(strings.TrimSuffix(target, "#no")); a.Header.Get("Location") != want {
			t.Errorf("%s: %d %q, want %q", target, a.StatusCode, a.Header.Get("Location"), want)
		}
	}
	if a := g.raw("GET * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); a.StatusCode != 400 {
		t.Errorf("GET *: %d", a.StatusCode)
	}
}

// Metrics name a server's URL, and beside it each address that the URL's name has.
func TestMetricsNameAServersAddresses(t *testing.T) {
	t.Parallel()
	shop := app(t, "shop")
	_, port, _ := strings.Cut(strings.TrimPrefix(shop.URL, "http://"), ":")
	g := start(t, fmt.Sprintf(anyRoute, "http://localhost:"+port+", "+shop.URL))
	for _, server := range []string{
		fmt.Sprintf(`address="127.0.0.1:%s",server="http://localhost:%[1]s"`, port),
		fmt.Sprintf(`address="",server=%q`, shop.URL),
	} {
		series := fmt.Sprintf(`headgate_upstream_server_attempts_total{%s,upstream="shop"}`, server)
		eventually(t, series, func() bool { g.do("GET", "/"); return g.metric(series) > 0 })
	}
}
