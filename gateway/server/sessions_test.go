package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/headgate/headgate/internal/redistest"
)

// shopApp is an app server that logs users in and keeps a cart in their sessions.
func shopApp(t testing.TB) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if user := r.FormValue("user"); user != "" {
			w.Header().Set("Headgate-Login", user)
			return
		}
		http.Error(w, "no", http.StatusUnauthorized)
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "even if the app fails", http.StatusInternalServerError)
	})
	mux.HandleFunc("POST /cart", func(w http.ResponseWriter, r *http.Request) {
		patch, _ := io.ReadAll(r.Body)
		w.Header().Set("Headgate-Session-Merge", string(patch))
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "user=%s session=%s cookie=%s", r.Header.Get("Headgate-User"), r.Header.Get("Headgate-Session"), r.Header.Get("Cookie"))
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

const withSessions = `
redis: {url: "%s", timeout: 50s}
upstreams: {shop: {servers: [%s]}}
session: {cookie: {secure: false}}
limits: {per-user: {key: user, requests: 1000, window: 1h}, per-ip: {requests: 1000, window: 1h}}
defaults: {upstream: shop, limits: [per-user, per-ip]}
routes:
  - {path: /login, methods: [POST], session: login}
  - {path: /logout, methods: [POST], session: logout}
  - {path: /private/*, session: required}
  - {path: /public/*}
  - {path: /*, session: optional}
`

// login logs a user in and returns the cookie.
func (g *gateway) login(user string, headers ...string) string {
	g.t.Helper()
	a := g.do("POST", "/login?user="+user, headers...)
	for _, c := range a.Cookies() {
		if c.Name == "session" {
			return c.Name + "=" + c.Value
		}
	}
	g.t.Fatalf("no session cookie: %d %v %s", a.StatusCode, a.Header, a.text)
	return ""
}

func TestLoggedInAtOneGatewayIsLoggedInAtAll(t *testing.T) {
	t.Parallel()
	policy := fmt.Sprintf(withSessions, redistest.Start(t).URL, shopApp(t).URL)
	a, b := start(t, policy), start(t, policy)

	if res := b.do("GET", "/private/x"); res.StatusCode != 401 {
		t.Errorf("without a session: %d", res.StatusCode)
	}
	if res := b.do("GET", "/private/x?y=1", "Accept", "text/html"); res.StatusCode != 303 || res.Header.Get("Location") != "/login?next=%2Fprivate%2Fx%3Fy%3D1" {
		t.Errorf("a browser without a session: %d %s", res.StatusCode, res.Header.Get("Location"))
	}

	cookie := a.login("42")
	if res := b.send("POST", "/cart", strings.NewReader(`{"cart":3}`), "Cookie", cookie); res.StatusCode != 200 {
		t.Fatalf("merge: %d %s", res.StatusCode, res.text)
	}
	res := a.do("GET", "/private/x", "Cookie", "other=1; "+cookie)
	if want := `user=42 session={"cart":3} cookie=other=1`; res.text != want {
		t.Errorf("the app sees %q, want %q", res.text, want)
	}
	if res := a.do("GET", "/public/x", "Cookie", cookie); res.text != "user= session= cookie=" {
		t.Errorf("a route without sessions: %q", res.text)
	}

	if res := b.do("POST", "/logout", "Cookie", cookie); res.StatusCode != 500 || !strings.Contains(res.Header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("logout: %d %v", res.StatusCode, res.Header)
	}
	if res := a.do("GET", "/private/x", "Cookie", cookie); res.StatusCode != 401 {
		t.Errorf("after the logout: %d", res.StatusCode)
	}
}

func TestConcurrentMergesThroughTwoGatewaysAreAllKept(t *testing.T) {
	t.Parallel()
	policy := fmt.Sprintf(withSessions, redistest.Start(t).URL, shopApp(t).URL)
	gateways := []*gateway{start(t, policy), start(t, policy)}
	cookie := gateways[0].login("42")
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			a := gateways[i%2].send("POST", "/cart", strings.NewReader(fmt.Sprintf(`{"k%d":%d}`, i, i)), "Cookie", cookie)
			if a.StatusCode != 200 {
				t.Errorf("%d %s", a.StatusCode, a.text)
			}
		})
	}
	wg.Wait()
	text := gateways[1].do("GET", "/x", "Cookie", cookie).text
	_, data, _ := strings.Cut(text, "session=")
	data, _, _ = strings.Cut(data, " cookie=")
	var kept map[string]int
	if err := json.Unmarshal([]byte(data), &kept); err != nil || len(kept) != 50 {
		t.Errorf("%d of 50 are kept (%v): %s", len(kept), err, data)
	}
}

func TestASessionAndItsLimitsCostOneRoundTrip(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	g := start(t, fmt.Sprintf(withSessions, redis.URL, shopApp(t).URL))
	cookie := g.login("42")
	g.do("GET", "/x", "Cookie", cookie)
	before := g.metric("headgate_redis_pipelines_total")
	for range 10 {
		g.do("GET", "/x", "Cookie", cookie)
	}
	if n := g.metric("headgate_redis_pipelines_total") - before; n != 10 {
		t.Errorf("10 requests with a session and limits by user made %v round trips", n)
	}
	before = g.metric("headgate_redis_pipelines_total")
	for range 10 {
		g.do("GET", "/x")
	}
	if n := g.metric("headgate_redis_pipelines_total") - before; n != 10 {
		t.Errorf("10 requests without a session, for their limits, made %v round trips", n)
	}
}

func TestRedisAwayIsNeverLoggedOut(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	g := start(t, strings.Replace(fmt.Sprintf(withSessions, redis.URL, shopApp(t).URL), "timeout: 50s", "timeout: 5s", 1))
	cookie := g.login("42")
	redis.Pause()
	for range 5 {
		a := g.do("GET", "/private/x", "Cookie", cookie)
		if a.StatusCode != 503 || a.Header.Get("Retry-After") == "" || len(a.Cookies()) != 0 {
			t.Fatalf("required: %d %v", a.StatusCode, a.Header)
		}
		if a = g.do("GET", "/x", "Cookie", cookie); a.StatusCode != 200 || !strings.HasPrefix(a.text, "user= ") || len(a.Cookies()) != 0 {
			t.Fatalf("optional: %d %s %v", a.StatusCode, a.text, a.Header)
		}
		if a = g.do("POST", "/login?user=1"); a.StatusCode != 503 || len(a.Cookies()) != 0 {
			t.Fatalf("a login that cannot be saved: %d %v", a.StatusCode, a.Header)
		}
	}
	redis.Resume()
	eventually(t, "everybody is still logged in", func() bool { return g.do("GET", "/private/x", "Cookie", cookie).StatusCode == 200 })
}

func TestOtherSitesCannotActForAUser(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(withSessions, "", shopApp(t).URL))
	cookie := g.login("42")
	for name, headers := range map[string][]string{
		"fetch metadata": {"Sec-Fetch-Site", "cross-site"},
		"origin":         {"Origin", "https://evil.example"},
		"null origin":    {"Origin", "null"},
	} {
		if a := g.send("POST", "/cart", strings.NewReader("{}"), append(headers, "Cookie", cookie)...); a.StatusCode != 403 {
			t.Errorf("%s: %d", name, a.StatusCode)
		}
	}
	if a := g.do("POST", "/login?user=1", "Sec-Fetch-Site", "cross-site"); a.StatusCode != 403 {
		t.Errorf("another site's login form: %d", a.StatusCode)
	}
	if a := g.do("GET", "/x", "Cookie", cookie, "Origin", "https://evil.example", "Connection", "Upgrade", "Upgrade", "websocket"); a.StatusCode != 403 {
		t.Errorf("another site's WebSocket: %d", a.StatusCode)
	}
}

func TestWhatTheAppCannotAskForIs502(t *testing.T) {
	t.Parallel()
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Headgate-Login", "42")
		w.Header().Set("Set-Cookie", "app=1")
	})
	g := start(t, fmt.Sprintf(withSessions, "", shop.URL))
	for _, target := range []string{"/x", "/public/x"} {
		if a := g.do("GET", target); a.StatusCode != 502 || len(a.Cookies()) != 0 {
			t.Errorf("%s: a login outside a login route: %d %v", target, a.StatusCode, a.Header)
		}
	}
	if a := g.do("POST", "/login"); a.StatusCode != 200 || len(a.Cookies()) != 2 || a.Header.Get("Cache-Control") != "private, no-store" || a.Header.Get("Headgate-Login") != "" {
		t.Errorf("login: %d %v", a.StatusCode, a.Header)
	}
}
