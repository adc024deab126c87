package server_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/redistest"
)

// Without a bound, one client fills a Redis with responses, and the Redis evicts
// sessions for them.
func TestAClientThatFillsTheCacheLogsNoUserOut(t *testing.T) {
	t.Parallel()
	const (
		users = 40
		pages = 400
		page  = 100 << 10
	)
	policy := `
redis: {url: "%s", timeout: 50s, cache_bytes: 4MiB}
upstreams: {shop: {servers: [%s]}}
session: {cookie: {secure: false}}
caches: {pages: {ttl: 1h}, listed: {ttl: 1h, query: [x]}}
defaults: {upstream: shop}
routes:
  - {path: /login, methods: [POST], session: login}
  - {path: /pages, cache: pages}
  - {path: /listed, cache: listed}
  - {path: /private, session: required}
`
	for _, eviction := range []string{"volatile-lru", "allkeys-lru"} {
		t.Run(eviction, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t, "--maxmemory", "16mb", "--maxmemory-policy", eviction)
			shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/login" {
					w.Header().Set("Headgate-Login", r.FormValue("user"))
					return
				}
				io.WriteString(w, strings.Repeat("x", page))
			})
			g := start(t, fmt.Sprintf(policy, redis.URL, shop.URL))
			var cookies []string
			for i := range users {
				cookies = append(cookies, g.login(fmt.Sprintf("user%d", i)))
			}
			for i := range pages {
				for _, path := range []string{"/pages", "/listed"} {
					if a := g.do("GET", fmt.Sprintf("%s?x=%d", path, i)); a.StatusCode != 200 {
						t.Fatalf("page %d: %d", i, a.StatusCode)
					}
				}
			}
			out := 0
			for _, cookie := range cookies {
				if a := g.do("GET", "/private", "Cookie", cookie); a.StatusCode != 200 {
					out++
				}
			}
			if out > 0 {
				t.Errorf("%d of %d users are logged out", out, users)
			}
			if n := redis.Client.Info(t.Context(), "stats").Val(); !strings.Contains(n, "evicted_keys:0\r\n") {
				t.Error("Redis has evicted keys")
			}
			metrics := g.admin("GET", "/metrics").text
			if !strings.Contains(metrics, `headgate_cache_not_stored_total{reason="over-cache-bytes",rule="listed"} `) ||
				!strings.Contains(metrics, `headgate_cache_not_stored_total{reason="client-share",rule="pages"} `) ||
				!strings.Contains(metrics, "headgate_cache_redis_limit_bytes 4.194304e+06\n") {
				t.Errorf("the metrics do not say that the budget and the client's share are used up: %s", metrics)
			}
		})
	}
}
