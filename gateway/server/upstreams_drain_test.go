package server_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestDrainOverTheAdminAPI: what is refused, with its status, and what the metrics say.
func TestDrainOverTheAdminAPI(t *testing.T) {
	t.Parallel()
	a, b := app(t, "a"), app(t, "b")
	g := start(t, fmt.Sprintf(`
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}}
upstreams: {shop: {servers: [%q, {url: %q, weight: 0}]}}
routes: [{name: all, path: /*, upstream: shop}]
`, a.URL, b.URL))
	shows := func(metric, server string, value int) {
		t.Helper()
		line := fmt.Sprintf("%s{address=\"\",server=%q,upstream=\"shop\"} %d\n", metric, server, value)
		if !strings.Contains(g.admin("GET", "/metrics").text, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	shows("headgate_upstream_server_healthy", a.URL, 1)
	shows("headgate_upstream_server_draining", a.URL, 0)
	shows("headgate_upstream_server_draining", b.URL, 1)
	for _, tc := range []struct {
		name, target, body string
		status             int
		says               string
	}{
		{"the last server", "/upstreams/shop/drain", fmt.Sprintf(`{"url": %q}`, a.URL), 409, "the last server"},
		{"drained by its weight", "/upstreams/shop/restore", fmt.Sprintf(`{"url": %q}`, b.URL), 409, "its weight is 0"},
		{"unknown upstream", "/upstreams/other/drain", fmt.Sprintf(`{"url": %q}`, a.URL), 404, "the upstreams are shop"},
		{"unknown server", "/upstreams/shop/drain", `{"url": "http://other.test"}`, 404, a.URL + ", " + b.URL},
		{"no URL", "/upstreams/shop/drain", `{}`, 400, "Name the server"},
		{"no JSON", "/upstreams/shop/restore", `url`, 400, "send JSON"},
		{"restored by force", "/upstreams/shop/restore", fmt.Sprintf(`{"url": %q, "force": true}`, a.URL), 400, "for drain alone"},
		{"by force", "/upstreams/shop/drain", fmt.Sprintf(`{"url": %q, "force": true}`, a.URL), 200, `"state": "draining"`},
	} {
		if got := g.adminSend("POST", tc.target, strings.NewReader(tc.body)); got.StatusCode != tc.status || !strings.Contains(strings.ReplaceAll(got.text, `\"`, `"`), tc.says) {
			t.Errorf("%s: %d %s", tc.name, got.StatusCode, got.text)
		}
	}
	shows("headgate_upstream_server_healthy", a.URL, 1)
	shows("headgate_upstream_server_draining", a.URL, 1)
	if got := g.do("GET", "/"); got.StatusCode != 503 {
		t.Errorf("got %d", got.StatusCode)
	}
}
