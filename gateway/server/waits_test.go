package server_test

import (
	"fmt"
	"testing"

	"github.com/headgate/headgate/internal/redistest"
)

// TestChecksOfOneRequestShareTheTimeout: a request that has waited redis.timeout for its session
// and its limits is not made to wait for the cache as well. Redis is frozen, so it sees what
// was sent to it once it goes on.
func TestChecksOfOneRequestShareTheTimeout(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	g := start(t, fmt.Sprintf(`
redis: {url: "%s", timeout: 200ms}
upstreams: {shop: {servers: [%s]}}
session: {cookie: {secure: false}}
caches: {pages: {ttl: 1m}}
limits: {per-ip: {requests: 1000, window: 1h}}
defaults: {upstream: shop, limits: per-ip}
routes:
  - {path: /login, methods: [POST], session: login}
  - {path: /*, cache: pages}
`, redis.URL, shopApp(t).URL))
	eventually(t, "the cache in Redis", func() bool {
		g.do("GET", fmt.Sprint("/warm", redis.CommandCount(t, "hgetall")))
		return redis.CommandCount(t, "hgetall") > 1
	})
	before := redis.CommandCount(t, "hgetall")
	redis.Pause()
	a := g.do("GET", "/cold")
	redis.Resume()
	if a.StatusCode != 200 {
		t.Errorf("while Redis is frozen: %d %s", a.StatusCode, a.text)
	}
	eventually(t, "Redis", func() bool {
		return g.do("GET", "/x").Header.Get("Cache-Status") != "" && g.metric("headgate_redis_available") == 1
	})
	if n := redis.CommandCount(t, "hgetall") - before; n > 1 { // that of /x may be one
		t.Errorf("the cache was asked %d times", n)
	}
}
