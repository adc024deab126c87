package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/redistest"
)

// TestTheAppCorrectsWhatARequestHasCost, under every algorithm, in memory and in Redis, and the client never sees it.
func TestTheAppCorrectsWhatARequestHasCost(t *testing.T) {
	t.Parallel()
	const policy = `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}}
redis: {url: "%s", timeout: 10s, key_prefix: "%s:"}
upstreams: {shop: {servers: [%s]}}
limits:
  api: {algorithm: %[2]s, requests: 100, window: 1h}
  failed: {algorithm: %[2]s, requests: 60, window: 1h, count: failed, cost: 2}
  dry: {algorithm: %[2]s, requests: 100, window: 1h, dry_run: true}
caches: {pages: {ttl: 1m}}
defaults: {upstream: shop, limits: [api, failed, dry], cache: off}
routes:
  - {path: /cached, cache: pages}
  - {path: /*}
`
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		for _, cost := range r.URL.Query()["cost"] {
			w.Header().Add("Headgate-Cost", cost)
		}
		if r.URL.Path == "/fails" {
			w.WriteHeader(http.StatusTeapot)
		}
	})
	for _, url := range []string{"", redistest.Start(t).URL} {
		for _, algorithm := range []string{"fixed_window", "sliding_window", "sliding_log", "token_bucket"} {
			g := start(t, fmt.Sprintf(policy, url, algorithm, shop.URL))
			ask := func(target string, status int) {
				t.Helper()
				if a := g.do("GET", target); a.StatusCode != status || a.Header.Get("Headgate-Cost") != "" {
					t.Errorf("%s, Redis %q: %s: %d, want %d; %v", algorithm, url, target, a.StatusCode, status, a.Header)
				}
			}
			left := func(api, failed int) {
				t.Helper()
				for name, want := range map[string]int{"api": api, "failed": failed, "dry": api} {
					eventually(t, fmt.Sprintf("%s, Redis %q: %d of %s remain", algorithm, url, want, name), func() bool {
						a := g.admin("GET", "/limits/"+name+"?key=127.0.0.1")
						return strings.Contains(a.text, fmt.Sprintf(`"remaining": %d,`, want))
					})
				}
			}
			ask("/", 200)
			left(99, 60)
			ask("/?cost=12", 200)
			left(87, 60)
			ask("/?cost=0", 200)
			left(87, 60)
			ask("/fails?cost=5", 418)
			left(82, 55)
			ask("/fails", 418)
			left(81, 53)
			ask("/cached?cost=10", 200)
			left(71, 53)
			ask("/cached?cost=10", 200) // from the cache
			left(70, 53)
			for i, wrong := range []string{"x", "-1", "%2B1", "1.5", "", "1000000001", "1&cost=1"} {
				ask("/?cost="+wrong, 502)
				left(69-i, 53)
			}
			ask("/?cost=1000", 200)
			left(0, 53)
			ask("/", 429)
		}
	}
}
