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
