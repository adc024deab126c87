package server_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/redistest"
)

// TestLoginsAndLogoutsWaitForReplicas: one that no replica confirms is answered with 503, without a
// cookie; and blocks likewise.
func TestLoginsAndLogoutsWaitForReplicas(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t)
	host, port, _ := net.SplitHostPort(primary.Addr)
	replica := redistest.Start(t, "--replicaof", host+" "+port)
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			w.Header().Set("Headgate-Login", "42")
		}
	})
	g := start(t, `
redis: {url: "`+primary.URL+`", wait_replicas: 1, timeout: 2s, write_timeout: 2s}
upstreams: {shop: {servers: [`+shop.URL+`]}}
session: {cookie: {secure: false}}
routes:
  - {name: login, path: /login, methods: [POST], upstream: shop, session: login}
  - {name: logout, path: /logout, methods: [POST], upstream: shop, session: logout}
  - {path: /*, upstream: shop, session: required}
`)
	var cookie string
	eventually(t, "a login that a replica has confirmed", func() bool {
		a := g.do("POST", "/login", "Origin", "http://"+g.Addr())
		cookie, _, _ = strings.Cut(a.Header.Get("Set-Cookie"), ";")
		return a.StatusCode == 200 && cookie != ""
	})
	if keys, err := replica.Client.Keys(t.Context(), "*session*").Result(); err != nil || len(keys) == 0 {
		t.Fatalf("the replica has %v, %v", keys, err)
	}
	replica.Pause()
	defer replica.Resume()
	if a := g.do("POST", "/login", "Origin", "http://"+g.Addr()); a.StatusCode != 503 || a.Header.Get("Set-Cookie") != "" {
		t.Errorf("a login that no replica confirms: %d %v", a.StatusCode, a.Header)
	}
	if a := g.do("GET", "/", "Cookie", cookie); a.StatusCode != 200 {
		t.Errorf("a request that writes nothing: %d", a.StatusCode)
	}
	if a := g.do("POST", "/logout", "Origin", "http://"+g.Addr(), "Cookie", cookie); a.StatusCode != 503 {
		t.Errorf("a logout that no replica confirms: %d", a.StatusCode)
	}
}
