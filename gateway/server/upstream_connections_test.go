package server_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
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
