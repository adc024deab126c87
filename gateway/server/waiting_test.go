package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// TestRequestsWaitForFullServers: what the client and the operator see of an upstream's line.
func TestRequestsWaitForFullServers(t *testing.T) {
	t.Parallel()
	arrived, letGo := make(chan string, 10), make(chan struct{})
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- r.URL.Path
		<-letGo
	}))
	defer shop.Close()
	g := start(t, fmt.Sprintf(`
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}}
upstreams: {shop: {servers: [%q], max_connections: 1, waiting: {requests: 1, timeout: 1m}}}
routes: [{name: all, path: /*, upstream: shop}]
`, shop.URL))
	shows := func(metric string) bool { return strings.Contains(g.admin("GET", "/metrics").text, metric+"\n") }
	var clients sync.WaitGroup
	get := func(path string) {
		clients.Go(func() {
			if a := g.do("GET", path); a.StatusCode != 200 {
				t.Errorf("%s: %d", path, a.StatusCode)
			}
		})
	}
	get("/first")
	<-arrived
	ctx, disconnect := context.WithCancel(context.Background())
	clients.Go(func() {
		r, _ := http.NewRequestWithContext(ctx, "GET", "http://"+g.Addr()+"/gone", nil)
		if res, err := http.DefaultClient.Do(r); err == nil {
			res.Body.Close()
			t.Errorf("the client that disconnected got %d", res.StatusCode)
		}
	})
	eventually(t, "it waits", func() bool { return shows(`headgate_upstream_waiting_requests{upstream="shop"} 1`) })
	if a := g.do("GET", "/refused"); a.StatusCode != 503 || a.Header.Get("Retry-After") != "1" {
		t.Errorf("beyond the line: %d, Retry-After %q", a.StatusCode, a.Header.Get("Retry-After"))
	}
	if !shows(`headgate_upstream_waits_refused_total{reason="full",upstream="shop"} 1`) {
		t.Error("the refusal is not in the metrics")
	}
	disconnect()
	eventually(t, "it has left", func() bool { return shows(`headgate_upstream_waiting_requests{upstream="shop"} 0`) })
	get("/second")
	eventually(t, "the second waits", func() bool { return shows(`headgate_upstream_waiting_requests{upstream="shop"} 1`) })
	close(letGo)
	clients.Wait()
	if path := <-arrived; path != "/second" {
		t.Errorf("%s came after the first", path)
	}
}
