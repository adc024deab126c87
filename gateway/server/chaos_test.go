package server_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
)

// chaotic has a bit of everything that asks Redis.
const chaotic = `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, trusted_proxies: [127.0.0.1/32]}
redis: {url: "%s", timeout: 50s}
upstreams: {shop: {servers: [%s], retries: 0}}
session: {cookie: {secure: false}}
caches: {products: {ttl: 60s, tags: [products]}}
limits:
  per-ip: {algorithm: fixed_window, requests: 1000000, window: 1h}
  per-user: {algorithm: fixed_window, key: user, requests: 50, window: 1h}
  at-once: {key: user, concurrent: 1000}
  per-route: {algorithm: token_bucket, key: route, requests: 80, window: 24h}
  strict: {algorithm: fixed_window, requests: 1000000, window: 1h, on_redis_error: closed}
defaults: {upstream: shop, limits: per-ip}
routes:
  - {path: /login, methods: [POST], session: login}
  - {path: /private/*, session: required}
  - {path: /mine/*, session: required, limits: per-user}
  - {path: /counted/*, session: optional, limits: [per-user, per-route, at-once]}
  - {path: /strict/*, limits: strict}
  - {path: /top/*, cache: products, session: optional}
  - {path: /edit, purge: products}
  - {path: /*, session: optional}
`

func chaosApp(t testing.TB) (url string, served *atomic.Int64) {
	served = new(atomic.Int64)
	return appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/login":
			w.Header().Set("Headgate-Login", r.FormValue("user"))
		case strings.HasPrefix(r.URL.Path, "/top/"):
			w.Header().Set("Cache-Control", "public, max-age=60")
			fmt.Fprintf(w, "answer %d", served.Add(1))
		}
	}).URL, served
}

// well waits until a gateway has all of Redis and is at the head of the purge log.
func (g *gateway) well() {
	g.t.Helper()
	eventually(g.t, "Redis is available again", func() bool {
		return g.metric("headgate_redis_available") == 1 && g.do("GET", "/strict/x").StatusCode == 200
	})
}

// cached waits until an answer comes from the cache, and returns it.
func (g *gateway) cached(target string) (text string) {
	g.t.Helper()
	eventually(g.t, "it is cached", func() bool {
		a := g.do("GET", target)
		text = a.text
		return strings.Contains(a.Header.Get("Cache-Status"), "; hit")
	})
	return text
}

// admitted sends n requests at once, through all gateways, and counts the 200s.
func admitted(t *testing.T, gateways []*gateway, n int, target string, headers ...string) int {
	t.Helper()
	var ok atomic.Int64
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			switch a := gateways[i%len(gateways)].do("GET", target, headers...); a.StatusCode {
			case 200:
				ok.Add(1)
			case 429:
			default:
				t.Errorf("%s: %d %s", target, a.StatusCode, a.text)
			}
		})
	}
	wg.Wait()
	return int(ok.Load())
}

func TestRedisGoesAndComesBackUnderLoad(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		go_, back func(*redistest.Server)
		away      bool // the gateways notice
		emptied   bool
	}{
		"hangs":      {(*redistest.Server).Pause, (*redistest.Server).Resume, true, false},
		"is killed":  {(*redistest.Server).Kill, (*redistest.Server).Restart, true, true},
		"is flushed": {(*redistest.Server).FlushAll, func(*redistest.Server) {}, false, true},
		"loses lua":  {func(s *redistest.Server) { s.Client.ScriptFlush(t.Context()) }, func(*redistest.Server) {}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t)
			url, _ := chaosApp(t)
			policy := fmt.Sprintf(chaotic, redis.URL, url)
			if name == "hangs" { // a gateway notices after this
				policy = strings.Replace(policy, "timeout: 50s", "timeout: 5s", 1)
			}
			gateways := []*gateway{start(t, policy), start(t, policy)}
			for _, g := range gateways {
				g.well()
			}
			cookie := gateways[0].login("42")
			old := gateways[0].cached("/top/1")

			var longest, slow, total atomic.Int64
			var gone atomic.Bool
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for i := range 12 {
				target := []string{"/x", "/private/x", "/strict/x", "/top/1"}[i%4]
				wg.Go(func() {
					g := gateways[i%2]
					for {
						select {
						case <-stop:
							return
						default:
						}
						began := time.Now()
						a := g.do("GET", target, "Cookie", cookie)
						took := time.Since(began)
						total.Add(1)
						if took > 150*time.Millisecond {
							slow.Add(1)
						}
						longest.Store(max(longest.Load(), int64(took)))
						switch {
						case a.StatusCode == 200:
						case a.StatusCode == 503 && (target == "/private/x" || target == "/strict/x") && gone.Load():
							if a.Header.Get("Retry-After") == "" {
								t.Errorf("%s: 503 without Retry-After", target)
							}
						case a.StatusCode == 401 && target == "/private/x" && tc.emptied && gone.Load():
						default:
							t.Errorf("%s: %d %s", target, a.StatusCode, a.text)
						}
						time.Sleep(2 * time.Millisecond)
					}
				})
			}
			eventually(t, "requests flow", func() bool { return total.Load() > 50 })
			gone.Store(true)
			tc.go_(redis)
			before := total.Load()
			eventually(t, "requests go on, and the gateways notice", func() bool {
				noticed := !tc.away || gateways[0].metric("headgate_redis_available") == 0 && gateways[1].metric("headgate_redis_available") == 0
				return noticed && total.Load() > before+100
			})
			tc.back(redis)
			began := time.Now()
			for _, g := range gateways {
				g.well()
			}
			t.Logf("well after %v; of %d requests %d took over 150ms, the longest %v", time.Since(began).Round(time.Millisecond),
				total.Load(), slow.Load(), time.Duration(longest.Load()).Round(time.Millisecond))
			close(stop)
			wg.Wait()

			status := map[bool]int{false: 200, true: 401}[tc.emptied]
			for _, g := range gateways {
				if a := g.do("GET", "/private/x", "Cookie", cookie); a.StatusCode != status {
					t.Errorf("the session afterwards: %d", a.StatusCode)
				}
			}
			cookie = gateways[1].login("43")
			if n := admitted(t, gateways, 80, "/mine/x", "Cookie", cookie); n != 50 {
				t.Errorf("%d of 50 admitted afterwards", n)
			}
			if tc.emptied { // with the log of purges, what was purged is forgotten
				for _, g := range gateways {
					eventually(t, "the gateway hears, within its lease, that the log is another one", func() bool { return g.cached("/top/1") != old })
				}
			}
			redis.AssertEveryKeyExpires(t)
		})
	}
}

func TestWhoeverIsCutOffFromRedisServesNothingPurged(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	proxy := redistest.StartProxy(t, redis.Addr)
	url, _ := chaosApp(t)
	there := start(t, fmt.Sprintf(chaotic, redis.URL, url))
	cut := start(t, strings.Replace(fmt.Sprintf(chaotic, proxy.URL, url), "timeout: 50s", "timeout: 5s", 1))
	there.well()
	cut.well()
	cookie := there.login("42")
	for i, part := range []func(){proxy.Swallow, proxy.Cut} {
		target := fmt.Sprint("/top/", i)
		old := cut.cached(target)
		part()
		began := time.Now()
		if a := there.do("POST", "/edit"); a.StatusCode != 200 {
			t.Fatalf("purge: %d %s", a.StatusCode, a.text)
		}
		t.Logf("purged everywhere after %v", time.Since(began).Round(time.Millisecond))
		if a := cut.do("GET", target); a.StatusCode != 200 || a.text == old {
			t.Errorf("who is cut off answers %d %s with %s", a.StatusCode, a.text, a.Header.Get("Cache-Status"))
		}
		if a := cut.do("POST", "/login?user=1"); a.StatusCode != 503 || len(a.Cookies()) != 0 {
			t.Errorf("a login there: %d %v", a.StatusCode, a.Header)
		}
		other := there.cached(target)
		if a := cut.do("POST", "/edit"); a.StatusCode != 200 { // the app has done it, and there is no way back
			t.Errorf("an edit there: %d", a.StatusCode)
		}
		proxy.Heal()
		began = time.Now()
		cut.well()
		t.Logf("back after %v", time.Since(began).Round(time.Millisecond))
		if a := cut.do("GET", "/private/x", "Cookie", cookie); a.StatusCode != 200 {
			t.Errorf("logged in elsewhere: %d", a.StatusCode)
		}
		if fresh := cut.cached(target); fresh == old {
			t.Errorf("%s is back", fresh)
		}
		eventually(t, "what was purged there is purged everywhere", func() bool { return there.do("GET", target).text != other })
	}
}

// Sessions, the cache, and limits by user, IP and route lie on three masters.
func TestLimitsAreExactThroughGatewaysOnACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	url, served := chaosApp(t)
	policy := fmt.Sprintf(chaotic, cluster.URL, url)
	gateways := []*gateway{start(t, policy), start(t, policy), start(t, policy)}
	for _, g := range gateways {
		g.well()
	}
	alice, bob := gateways[0].login("alice"), gateways[1].login("bob")
	var wg sync.WaitGroup
	wg.Go(func() {
		if n := admitted(t, gateways, 90, "/mine/x", "Cookie", alice); n != 50 {
			t.Errorf("%d of alice's 50 admitted", n)
		}
	})
	// A client address of his own for each keeps him out of the others' deny caches.
	var counted atomic.Int64
	for i := range 120 {
		wg.Go(func() {
			if gateways[i%3].do("GET", "/counted/x", "X-Forwarded-For", fmt.Sprint("192.0.2.", i)).StatusCode == 200 {
				counted.Add(1)
			}
		})
	}
	for i := range 60 {
		wg.Go(func() {
			a := gateways[i%3].do("GET", fmt.Sprint("/top/", i%4), "Cookie", bob)
			if a.StatusCode != 200 {
				t.Errorf("cached: %d %s", a.StatusCode, a.text)
			}
			if a := gateways[i%3].send("POST", "/private/x", io.NopCloser(strings.NewReader("x")), "Cookie", bob); a.StatusCode != 200 {
				t.Errorf("session: %d %s", a.StatusCode, a.text)
			}
		})
	}
	wg.Wait()
	if n := counted.Load(); n != 80 {
		t.Errorf("%d of the route's 80 admitted", n)
	}
	t.Logf("%d answers of the app for 4 resources", served.Load())
	if n := cluster.AssertEveryKeyExpires(t); n == 0 {
		t.Error("there are no keys")
	}
}
