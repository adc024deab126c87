package server_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func TestMaxAgeOfAPolicy(t *testing.T) {
	t.Parallel()
	var opened, closed atomic.Int64
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	app.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			opened.Add(1)
		case http.StateClosed:
			closed.Add(1)
		}
	}
	app.Start()
	t.Cleanup(app.Close)
	const policy = `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}}
upstreams: {app: {servers: [%q], idle_timeout: 1h, tcp_keepalive: off, max_age: %s}}
routes: [{name: all, path: /*, upstream: app}]
`
	g := start(t, fmt.Sprintf(policy, app.URL, "0s"))
	for range 5 {
		g.do("GET", "/")
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("without a bound: %d connections", n)
	}
	g = start(t, fmt.Sprintf(policy, app.URL, "30ms"))
	eventually(t, "a request gets another connection, since the first is too old", func() bool { g.do("GET", "/"); return opened.Load() >= 3 })
	eventually(t, "connections that are too old are closed", func() bool { return closed.Load() >= 2 })
}

func TestUnixServerOfAPolicy(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "headgate") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "app.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) }))
	app.Listener.Close()
	app.Listener = l
	app.Start()
	t.Cleanup(app.Close)
	g := start(t, fmt.Sprintf(`
upstreams: {app: {servers: ["unix://%s"]}}
routes:
  - {name: all, path: /*, upstream: app}
  - {name: its-own, path: /own, upstream: app, preserve_host: false}
`, path))
	if got := g.do("GET", "/", "Host", "shop.example"); got.text != "shop.example" {
		t.Errorf("got %d %q", got.StatusCode, got.text)
	}
	if got := g.do("GET", "/own", "Host", "shop.example"); got.text != "localhost" {
		t.Errorf("got %d %q", got.StatusCode, got.text)
	}
	if got := g.admin("GET", "/upstreams").text; !strings.Contains(got, fmt.Sprintf("%q", "unix:"+path)) {
		t.Errorf("/upstreams: %s", got)
	}
	if got := g.admin("GET", "/metrics").text; !strings.Contains(got, fmt.Sprintf("server=%q", "unix:"+path)) {
		t.Error("metrics do not name the server")
	}
}
