package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestAKnownKeyIsCutWhereverItStands(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(withCache, "", app(t, "a").URL))
	for name, headers := range map[string][]string{
		"both places":         {"X-Api-Key", "password", "Authorization", "Bearer password"},
		"twice":               {"X-Api-Key", "password", "X-Api-Key", "password"},
		"with another's":      {"X-Api-Key", "the app's", "X-Api-Key", "password"},
		"two Authorizations":  {"Authorization", "Basic YTpi", "Authorization", "bearer  password"},
		"many of the app's":   {"X-Api-Key", "password", "Authorization", "Bearer the app's"},
		"one that is unknown": {"X-Api-Key", "guess", "Authorization", "Bearer password"},
	} {
		a := g.do("GET", "/x", headers...)
		if strings.Contains(a.text, "password") || !strings.Contains(a.text, "Headgate-Client: acme") {
			t.Errorf("%s: the app sees\n%s", name, a.text)
		}
		for _, own := range []string{"the app's", "Basic YTpi", "guess"} {
			if strings.Contains(strings.Join(headers, " "), own) && !strings.Contains(a.text, own) {
				t.Errorf("%s: the app does not see its own %s", name, own)
			}
		}
	}
}

// A cookie of a session, or what has changed one, is for one client, whatever
// app server and policy say of caching.
func TestWhatIsAboutASessionIsForNobodyElse(t *testing.T) {
	t.Parallel()
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "public, max-age=600")
		h.Set("CDN-Cache-Control", "public, max-age=600")
		h.Set("Surrogate-Control", "max-age=600")
		switch r.URL.Path {
		case "/login":
			h.Set("Headgate-Login", "42")
		case "/merge":
			h.Set("Headgate-Session-Merge", `{"a":1}`)
		case "/renew":
			h.Set("Headgate-Session-Renew", "?1")
		case "/malformed":
			h.Set("Headgate-Logout", "no such thing")
		}
	})
	g := start(t, `
upstreams: {shop: {servers: [`+shop.URL+`]}}
session: {cookie: {secure: false}}
caches: {pages: {ttl: 1m, force_ttl: 1m}}
defaults: {upstream: shop, cache: pages, response_headers: {set: {Cache-Control: "public, max-age=3600"}}}
routes:
  - {path: /login, session: login}
  - {path: /logout, session: logout}
  - {path: /malformed, session: logout}
  - {path: /*, session: optional}
`)
	private := func(what string, a *answer, cookie bool) {
		t.Helper()
		if cc := a.Header.Values("Cache-Control"); a.StatusCode != 200 || len(cc) != 1 || cc[0] != "private, no-store" ||
			a.Header.Get("CDN-Cache-Control")+a.Header.Get("Surrogate-Control") != "" {
			t.Errorf("%s: %d %v", what, a.StatusCode, a.Header)
		}
		if got := len(a.Cookies()) == 1; got != cookie {
			t.Errorf("%s: cookies %v", what, a.Cookies())
		}
	}
	private("login", g.do("GET", "/login"), true)
	cookie := g.login("42")
	private("merge", g.do("GET", "/merge", "Cookie", cookie), false)
	private("merge without a session", g.do("GET", "/merge"), true)
	private("merge without a session, again", g.do("GET", "/merge"), true)
	private("renew", g.do("GET", "/renew", "Cookie", cookie), true)

	g.do("GET", "/logout") // somebody without a session, whose answer the app calls public
	private("logout", g.do("GET", "/logout", "Cookie", cookie), true)
	if a := g.do("GET", "/x", "Cookie", cookie); strings.Contains(a.text, "42") {
		t.Error("still logged in")
	}

	cookie = g.login("42")
	if a := g.do("GET", "/malformed", "Cookie", cookie); a.StatusCode != 502 || !strings.Contains(a.Header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("a logout that the app garbles: %d %v", a.StatusCode, a.Header)
	}
}

func TestPagesOfOtherOriginsMayReadWhateverAnAnswerIs(t *testing.T) {
	t.Parallel()
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"1"`)
		w.Header().Set("Vary", "Accept-Language")
		w.Header().Set("Access-Control-Allow-Origin", "https://the-apps.own")
	})
	g := start(t, `
upstreams: {shop: {servers: [`+shop.URL+`]}, gone: {servers: ["http://127.0.0.1:1"]}}
session: {cookie: {secure: false}}
caches: {pages: {ttl: 1m}}
limits: {one: {requests: 1, window: 1h, key: [ip, route]}}
defaults: {cors: {allow_origins: https://app.example, allow_credentials: true}}
routes:
  - {path: /page, upstream: shop, cache: pages}
  - {path: /limited, upstream: shop, limits: one}
  - {path: /gone, upstream: gone}
  - {path: /user, upstream: shop, session: required}
  - {path: /closed, upstream: shop, maintenance: {}}
`)
	g.do("GET", "/limited", "Origin", "https://app.example")
	for _, tc := range []struct {
		target string
		want   int
		header []string
	}{
		{"/page", 200, nil}, {"/page", 200, nil}, {"/page", 304, []string{"If-None-Match", `"1"`}},
		{"/limited", 429, nil}, {"/gone", 502, nil}, {"/user", 401, nil}, {"/closed", 503, nil},
	} {
		a := g.do("GET", tc.target, append(tc.header, "Origin", "https://app.example")...)
		if a.StatusCode != tc.want {
			t.Errorf("%s: %d, want %d", tc.target, a.StatusCode, tc.want)
		}
		if o := a.Header.Values("Access-Control-Allow-Origin"); len(o) != 1 || o[0] != "https://app.example" {
			t.Errorf("%s (%d): Access-Control-Allow-Origin is %q", tc.target, a.StatusCode, o)
		}
		vary := strings.Join(a.Header.Values("Vary"), ", ")
		if !strings.Contains(vary, "Origin") || tc.target == "/page" && !strings.Contains(vary, "Accept-Language") {
			t.Errorf("%s (%d): Vary is %q", tc.target, a.StatusCode, vary)
		}
	}
	// Preflights are counted by no limit, and need no session.
	for _, target := range []string{"/limited", "/limited", "/user", "/closed"} {
		a := g.do("OPTIONS", target, "Origin", "https://app.example", "Access-Control-Request-Method", "GET")
		if a.StatusCode != 204 || a.Header.Get("Access-Control-Allow-Methods") == "" {
			t.Errorf("preflight %s: %d %v", target, a.StatusCode, a.Header)
		}
	}
}

// All who wait for a page of an app server that is away learn it from one
// request, and do not go to it one by one.
func TestAnAppServerThatIsAwayIsAskedOnceForAllWhoWait(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	var release atomic.Pointer[chan bool]
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-*release.Load()
		panic(http.ErrAbortHandler)
	})
	g := start(t, fmt.Sprintf(withCache, "", shop.URL))
	// A request that is in flight does not wait yet, and one that comes late asks
	// the app itself. How long that takes is up to the machine: where too many
	// came late, they get more time.
	for patience := 50 * time.Millisecond; ; patience *= 2 {
		asked.Store(0)
		hold := make(chan bool)
		release.Store(&hold)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if a := g.do("GET", "/top/x"); a.StatusCode != 502 {
					t.Errorf("%d %s", a.StatusCode, a.text)
				}
			})
		}
		eventually(t, "all are in flight, and the app is asked", func() bool {
			metrics := g.adminSend("GET", "/metrics", nil, "Authorization", "Bearer operator").text
			return asked.Load() > 0 && strings.Contains(metrics, "headgate_requests_in_flight 50")
		})
		time.Sleep(patience)
		close(hold)
		wg.Wait()
		n := asked.Load()
		if n <= 5 {
			return
		}
		if patience > 2*time.Second {
			t.Fatalf("the app was asked %d times", n)
		}
	}
}

func TestTheLogNamesTheServerThatWasAsked(t *testing.T) {
	t.Parallel()
	shop := app(t, "a")
	g := start(t, `
upstreams: {shop: {servers: [`+shop.URL+`]}, gone: {servers: ["http://127.0.0.1:1"]}}
caches: {pages: {ttl: 1m}}
routes: [{path: /gone, upstream: gone}, {path: /cached, upstream: shop, cache: pages}, {path: /*, upstream: shop}]
`)
	for _, target := range []string{"/x", "/gone", "/cached"} {
		g.do("GET", target)
	}
	eventually(t, "three lines", func() bool { return strings.Count(g.log.String(), "\n") == 3 })
	if log := g.log.String(); strings.Count(log, `"upstream":"`+shop.URL+`"`) != 2 || strings.Count(log, `"upstream":"http://127.0.0.1:1"`) != 1 {
		t.Errorf("%s", log)
	}
}

func TestAnAnswerHasOneRequestID(t *testing.T) {
	t.Parallel()
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Request-Id", "the app's") })
	g := start(t, `
upstreams: {shop: {servers: [`+shop.URL+`]}}
defaults: {response_headers: {set: {X-Request-Id: the policy's}}}
routes: [{path: /*, upstream: shop}]
`)
	if ids := g.do("GET", "/", "X-Request-Id", "the-clients").Header.Values("X-Request-Id"); len(ids) != 1 || ids[0] != "the-clients" {
		t.Errorf("%q", ids)
	}
}
