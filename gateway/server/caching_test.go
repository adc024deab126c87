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

const withCache = `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0", token: operator}}
redis: {url: "%s", timeout: 50s}
upstreams: {shop: {servers: [%s], retries: 0}}
session: {cookie: {secure: false}}
caches: {products: {ttl: 60s, tags: [products]}}
clients: {acme: {key_sha256: 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8}}
defaults: {upstream: shop}
routes:
  - {path: /login, methods: [POST], session: login}
  - {path: /top/*, cache: products}
  - {path: /mine/*, cache: products, session: optional}
  - {path: /edit, purge: products}
  - {path: /*}
`

// counting is an app whose answers say which one they are.
func counting(n *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			w.Header().Set("Headgate-Login", "42")
			return
		}
		w.Header().Set("X-Request-Id", "the app's")
		fmt.Fprintf(w, "answer %d for %s%s", n.Add(1), r.Header.Get("Headgate-User"), r.Header.Get("Headgate-Client"))
	}
}

// warm waits until each gateway follows the log of purges, without which it
// keeps nothing.
func warm(gateways ...*gateway) {
	for i, g := range gateways {
		eventually(g.t, "the gateway caches", func() bool {
			return strings.Contains(g.do("GET", "/top/warm", "Host", fmt.Sprint("warm", i)).Header.Get("Cache-Status"), "hit")
		})
	}
}

func TestAThousandVisitorsAreOneQuery(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(300 * time.Millisecond) // the slow query
		counting(&n)(w, r)
	})
	redis := redistest.Start(t)
	policy := fmt.Sprintf(withCache, redis.URL, shop.URL)
	gateways := []*gateway{start(t, policy), start(t, policy), start(t, policy)}
	warm(gateways...)
	before := n.Load()
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			if a := gateways[i%3].do("GET", "/top/50", "Host", "shop.example"); a.StatusCode != 200 || a.text != fmt.Sprintf("answer %d for ", before+1) {
				t.Errorf("%d %q %v", a.StatusCode, a.text, a.Header)
			}
		})
	}
	wg.Wait()
	if n.Load() != before+1 {
		t.Errorf("the app was asked %d times", n.Load()-before)
	}
	redis.AssertEveryKeyExpires(t)
}

func TestAnEditPurgesOnEveryGatewayBeforeItIsAnswered(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	policy := fmt.Sprintf(withCache, redistest.Start(t).URL, appFunc(t, counting(&n)).URL)
	a, b := start(t, policy), start(t, policy)
	warm(a, b)
	n.Store(0)
	want := func(g *gateway, text, status string) {
		t.Helper()
		res := g.do("GET", "/top/50", "Host", "shop.example")
		if res.text != text || !strings.Contains(res.Header.Get("Cache-Status"), status) {
			t.Errorf("%q, %q; want %q, %q", res.text, res.Header.Get("Cache-Status"), text, status)
		}
		if ids := res.Header.Values("X-Request-Id"); len(ids) != 1 || ids[0] == "the app's" {
			t.Errorf("X-Request-Id is %q", ids)
		}
	}
	want(a, "answer 1 for ", "fwd=uri-miss")
	want(a, "answer 1 for ", "hit")
	want(b, "answer 1 for ", "hit")
	if res := b.do("POST", "/edit"); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, res.text)
	}
	want(a, "answer 3 for ", "fwd")
	want(b, "answer 3 for ", "hit")

	for body, status := range map[string]int{
		`{"tag": "products"}`: 204, `{}`: 400, `{"tag": "a", "all": true}`: 400, `{"tags": "a"}`: 400, `nonsense`: 400,
	} {
		if res := a.adminSend("POST", "/purge", strings.NewReader(body), "Authorization", "Bearer operator"); res.StatusCode != status {
			t.Errorf("purge %s: %d %s", body, res.StatusCode, res.text)
		}
	}
	want(b, "answer 4 for ", "fwd")
	if res := a.adminSend("POST", "/purge", strings.NewReader(`{"all": true}`)); res.StatusCode != 401 {
		t.Errorf("a purge without the token: %d", res.StatusCode)
	}
}

func TestNobodyGetsAnotherUsersPage(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	g := start(t, fmt.Sprintf(withCache, "", appFunc(t, counting(&n)).URL))
	cookie := g.login("42")
	if a := g.do("GET", "/mine/x", "Cookie", cookie); a.text != "answer 1 for 42" {
		t.Errorf("%q", a.text)
	}
	if a := g.do("GET", "/mine/x"); a.text != "answer 2 for " {
		t.Errorf("an anonymous visitor after a user: %q", a.text)
	}
	if a := g.do("GET", "/mine/x"); a.text != "answer 2 for " {
		t.Errorf("a second one: %q", a.text)
	}
	if a := g.do("GET", "/mine/x", "Cookie", cookie); a.text != "answer 3 for 42" {
		t.Errorf("the user again: %q", a.text)
	}
	for _, header := range [][]string{{"X-Api-Key", "password"}, {"Authorization", "Bearer password"}} {
		if a := g.do("GET", "/mine/x", header...); !strings.HasSuffix(a.text, "for acme") {
			t.Errorf("an API client: %q", a.text)
		}
	}
	// Where sessions are off, the cookie makes no difference.
	first := g.do("GET", "/top/x", "Cookie", cookie).text
	if second := g.do("GET", "/top/x"); second.text != first || strings.Contains(first, "42") {
		t.Errorf("%q and %q", first, second.text)
	}
	// An operator may ask the app itself; others may not.
	if a := g.do("GET", "/top/x", "Headgate-Cache-Bypass", "operator"); a.text == first {
		t.Error("the bypass did not ask the app")
	}
	if a := g.do("GET", "/top/x", "Headgate-Cache-Bypass", "guess"); a.text != first {
		t.Error("anybody may go around the cache")
	}
}

func TestCachedResponsesCarryTheLimitsOfTheRequestAtHand(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	g := start(t, strings.Replace(fmt.Sprintf(withCache, "", appFunc(t, counting(&n)).URL),
		"defaults: {upstream: shop}", "limits: {per-ip: {requests: 100, window: 1h}}\ndefaults: {upstream: shop, limits: per-ip}", 1))
	for i := range 3 {
		a := g.do("GET", "/top/x")
		if got := a.Header.Values("RateLimit"); len(got) != 1 || !strings.HasPrefix(got[0], fmt.Sprintf(`"per-ip";r=%d;`, 99-i)) {
			t.Errorf("request %d: RateLimit is %q", i+1, got)
		}
	}
	if n.Load() != 1 {
		t.Errorf("the app was asked %d times", n.Load())
	}
	if m := g.adminSend("GET", "/metrics", nil, "Authorization", "Bearer operator").text; !strings.Contains(m, `headgate_cache_requests_total{reason="local",result="hit",rule="products"} 2`) {
		t.Error("the hits are not in the metrics")
	}
	eventually(t, "the log says hit", func() bool { return strings.Contains(g.log.String(), `"cache":"hit"`) })
}

func TestATruncatedResponseIsNeitherWholeNorStored(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "half of it")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, "all of it")
	})
	g := start(t, fmt.Sprintf(withCache, "", shop.URL))
	res, err := plain.Get("http://" + g.Addr() + "/top/x")
	if err == nil {
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("a truncated answer looks whole: %q", body)
		}
	}
	if a := g.do("GET", "/top/x"); a.text != "all of it" {
		t.Errorf("%q", a.text)
	}
}
