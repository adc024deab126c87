package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// failing is an app server that answers with a status and a page of its own.
func failing(t testing.TB, status int) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		http.Error(w, "the app's own page", status)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestRetryFromThePolicy(t *testing.T) {
	t.Parallel()
	busy, well := failing(t, 503), app(t, "well")
	g := start(t, fmt.Sprintf(`
upstreams:
  shop:
    servers: [%q, %q]
    retry: {on: [connect, timeout, 502, 503], try_timeout: 10s, idempotency_key: true}
    ejection: off
  alone: {servers: [%q], retry: {on: 503}}
routes:
  - {name: alone, path: /alone, upstream: alone}
  - {name: all, path: /*, upstream: shop}
`, busy.URL, well.URL, busy.URL))
	attempts := func() float64 {
		return g.metric(fmt.Sprintf(`headgate_upstream_attempts_total{result="status",server=%q,upstream="shop"}`, busy.URL))
	}
	for range 4 {
		if a := g.do("GET", "/"); a.StatusCode != 200 || a.Header.Get("App") != "well" {
			t.Errorf("GET: %d %s", a.StatusCode, a.text)
		}
	}
	if attempts() == 0 {
		t.Error("no attempt at the busy server is counted")
	}
	before := attempts()
	for range 4 {
		if a := g.send("POST", "/pay", strings.NewReader("x=1"), "Idempotency-Key", `"k1"`); a.StatusCode != 200 {
			t.Errorf("POST with a key: %d %s", a.StatusCode, a.text)
		}
	}
	if attempts() == before {
		t.Error("no POST came to the busy server")
	}
	refused := 0
	for range 4 {
		switch a := g.send("POST", "/pay", strings.NewReader("x=1")); {
		case a.StatusCode == 200:
		case a.StatusCode == 503 && strings.HasPrefix(a.text, "the app's own page") && a.Header.Get("Retry-After") == "7":
			refused++
		default:
			t.Errorf("POST without a key: %d %v %s", a.StatusCode, a.Header, a.text)
		}
	}
	if refused == 0 {
		t.Error("a POST without a key was retried")
	}
	if a := g.do("GET", "/alone"); a.StatusCode != 503 || !strings.HasPrefix(a.text, "the app's own page") {
		t.Errorf("the only server's answer was lost: %d %s", a.StatusCode, a.text)
	}
}

// A backup takes over when the last of the other servers is found unhealthy, and hands the requests back.
func TestBackupFromThePolicy(t *testing.T) {
	t.Parallel()
	var sick atomic.Bool
	first := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if sick.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprint(w, "first")
	})
	backup := appFunc(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "backup") })
	g := start(t, fmt.Sprintf(`
upstreams:
  shop:
    servers: [{url: %q, backup: true}, %q]
    health_check: {path: /up, interval: 500ms, timeout: 500ms}
routes: [{name: all, path: /*, upstream: shop}]
`, backup.URL, first.URL))
	for range 5 {
		if a := g.do("GET", "/"); a.text != "first" {
			t.Errorf("%d from %s", a.StatusCode, a.text)
		}
	}
	sick.Store(true)
	eventually(t, "the backup answers", func() bool { return g.do("GET", "/").text == "backup" })
	if a := g.admin("GET", "/upstreams"); !strings.Contains(a.text, `"backup": true`) && !strings.Contains(a.text, `"backup":true`) {
		t.Errorf("/upstreams does not show which server is the backup: %s", a.text)
	}
	sick.Store(false)
	eventually(t, "the server is back", func() bool { return g.do("GET", "/").text == "first" })
}

func TestHealthCheckFromThePolicyAsksItsPort(t *testing.T) {
	t.Parallel()
	asked := make(chan *http.Request, 1000)
	check := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r
		w.WriteHeader(http.StatusInternalServerError)
	})
	g := start(t, fmt.Sprintf(`
upstreams:
  shop:
    servers: [%q]
    health_check: {path: /up, port: %s, host: check.test, headers: {X-Probe: "1"}, interval: 100ms, timeout: 100ms}
routes: [{name: all, path: /*, upstream: shop}]
`, app(t, "shop").URL, check.URL[strings.LastIndexByte(check.URL, ':')+1:]))
	if r := <-asked; r.Host != "check.test" || r.URL.Path != "/up" || r.Header.Get("X-Probe") != "1" {
		t.Errorf("asked for %s %s with %v", r.Host, r.URL, r.Header)
	}
	eventually(t, "the server is out", func() bool {
		return strings.Contains(strings.ReplaceAll(g.admin("GET", "/upstreams").text, " ", ""), `"healthy":false`)
	})
}

// jar keeps cookies as a browser does.
type jar map[string]string

func (j jar) take(a *answer) {
	for _, c := range a.Cookies() {
		j[c.Name] = c.Value
	}
}

func (j jar) line() string {
	var all []string
	for name, value := range j {
		all = append(all, name+"="+value)
	}
	return strings.Join(all, "; ")
}

func TestBalanceByCookieFromThePolicy(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	server := func(name string) string {
		return appFunc(t, func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			if r.URL.Path == "/cached/no" {
				w.Header().Set("Cache-Control", "no-store")
			}
			fmt.Fprintf(w, "%s %s", name, r.Header.Get("Cookie"))
		}).URL
	}
	policy := fmt.Sprintf(`
session: {secrets: ["0123456789abcdef0123456789abcdef"]}
upstreams:
  shop: {servers: [%q, %q], balance: cookie}
  other: {servers: [%q], balance: cookie}
caches:
  pages: {ttl: 1m}
routes:
  - {name: cached, path: /cached/*, upstream: shop, cache: pages}
  - {name: other, path: /other/*, upstream: other, cache: pages}
  - {name: all, path: /*, upstream: shop}
`, server("a"), server("b"), server("c"))
	g, second := start(t, policy), start(t, policy)

	// What is stored for everyone gives no client a server, neither the one that caused it nor those that come later.
	for i, want := range []string{"miss", "hit", "hit"} {
		if a := g.do("GET", "/cached/page"); len(a.Cookies()) != 0 || !strings.Contains(a.Header.Get("Cache-Status"), want) || a.Header.Get("Cache-Control") != "" {
			t.Errorf("%d: %v", i, a.Header)
		}
	}
	// What is not stored does, on the same route.
	if a := g.do("GET", "/cached/no"); len(a.Cookies()) != 1 || a.Header.Get("Cache-Control") != "private, no-store" {
		t.Errorf("not stored: %v", a.Header)
	}

	j := jar{}
	j.take(g.do("GET", "/other/x", "Cookie", "sid=1")) // bypasses the ttl, and is not stored
	if len(j) != 1 {
		t.Fatalf("the other upstream set %v", j)
	}
	first := g.do("GET", "/", "Cookie", j.line())
	if j.take(first); len(j) != 2 || strings.TrimSpace(first.text) != "a" && strings.TrimSpace(first.text) != "b" {
		t.Fatalf("%v after %q", j, first.text)
	}
	for range 3 {
		for _, g := range []*gateway{g, second} {
			if a := g.do("GET", "/", "Cookie", "sid=1; "+j.line()); a.text != first.text[:1]+" sid=1" || len(a.Cookies()) != 0 {
				t.Errorf("then %q sets %v, want the server of %q", a.text, a.Cookies(), first.text)
			}
		}
	}
	// The cookies of either upstream keep no page from the cache, and their clients share it.
	before := asked.Load()
	if a := g.do("GET", "/cached/page", "Cookie", j.line()); !strings.Contains(a.Header.Get("Cache-Status"), "hit") || asked.Load() != before {
		t.Errorf("with the cookies: %v", a.Header)
	}
	if a := g.do("GET", "/other/page", "Cookie", j.line()); !strings.Contains(a.Header.Get("Cache-Status"), "stored") || a.text != "c " {
		t.Errorf("with the cookies: %v %q", a.Header, a.text)
	}
}
