package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
)

const withLogin = `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0", token: operator}}
redis: {url: "%s", timeout: 50s}
upstreams: {shop: {servers: [%s], retries: 0}}
session: {cookie: {secure: false}}
caches: {products: {ttl: 1h}}
defaults: {upstream: shop}
routes:
  - {path: /login, session: login}
  - {path: /top/*, cache: products}
  - {path: /rest/beta, methods: [GET], cache: products, match: {headers: {X-Beta: "1"}}}
  - {path: /rest/*}
  - {path: /posts/*, methods: [POST]}
  - {path: /*, methods: [GET], cache: products}
`

// An unsafe request waits for a purge only where a cached route could hold its URL. What other instances may hold, which have
// another policy, is purged with the next heartbeat, for all requests together.
func TestOnlyWhatACachedRouteMayHoldIsWaitedFor(t *testing.T) {
	t.Parallel()
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if to := r.Header.Get("X-Changed"); to != "" {
			w.Header().Set("Location", to)
		}
		if r.URL.Path == "/login" {
			w.Header().Set("Headgate-Login", "42")
		}
	})
	redis := redistest.Start(t)
	g := start(t, fmt.Sprintf(withLogin, redis.URL, shop.URL))
	warm(g)
	const heartbeat, most = 250 * time.Millisecond, 100
	purges := func(post func(i int)) int { // each is one PUBLISH
		before, began := redis.CommandCount(t, "publish"), time.Now()
		for i := range most {
			post(i)
		}
		return redis.CommandCount(t, "publish") - before - int(time.Since(began)/heartbeat) - 2
	}
	for what, post := range map[string]func(i int){
		"a login":               func(int) { g.do("POST", "/login") },
		"an uncached route":     func(i int) { g.do("POST", fmt.Sprint("/rest/", i)) },
		"a Location on another": func(i int) { g.do("PUT", "/login", "X-Changed", fmt.Sprint("/rest/", i)) },
		"one that shadows /*":   func(i int) { g.do("DELETE", fmt.Sprint("/rest/x/", i)) },
	} {
		if n := purges(post); n > 0 {
			t.Errorf("%s: %d purges besides one for each heartbeat", what, n)
		}
	}
	for what, post := range map[string]func(i int){
		"a cached route":              func(i int) { g.do("POST", fmt.Sprint("/top/", i)) },
		"cached under a header":       func(int) { g.do("POST", "/rest/beta") },
		"cached for another method":   func(i int) { g.do("POST", fmt.Sprint("/posts/", i)) },
		"a Location on a cached one":  func(i int) { g.do("POST", fmt.Sprint("/rest/", i), "X-Changed", fmt.Sprint("/top/", i)) },
		"a cached one, spelt another": func(i int) { g.do("POST", fmt.Sprintf("/rest/..//%%74op/%d", i)) },
	} {
		before := redis.CommandCount(t, "publish")
		for i := range 10 {
			post(i)
		}
		if n := redis.CommandCount(t, "publish") - before; n < 10 {
			t.Errorf("%s: %d purges for 10 requests", what, n)
		}
	}
}

// While a policy rolls out, one instance may hold what another's policy does not cache.
func TestAnInstanceWithAnotherPolicyHearsOfWhatItMayHold(t *testing.T) {
	t.Parallel()
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {})
	redis := redistest.Start(t)
	after := fmt.Sprintf(withLogin, redis.URL, shop.URL)
	before := strings.Replace(after, "{path: /rest/*}", "{path: /rest/*, cache: products}", 1)
	old, updated := start(t, before), start(t, after)
	warm(old, updated)
	hit := func() bool {
		return strings.Contains(old.do("GET", "/rest/x", "Host", "shop.example").Header.Get("Cache-Status"), "hit")
	}
	eventually(t, "the old policy's instance caches it", hit)
	if a := updated.do("POST", "/rest/x", "Host", "shop.example"); a.StatusCode != 200 {
		t.Fatal(a.StatusCode, a.text)
	}
	eventually(t, "its entry is purged", func() bool { return !hit() })
}
