package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
	"github.com/headgate/headgate/internal/redistest"
)

const withPlaces = `
redis: {url: "%s", timeout: 50s}
upstreams: {shop: {servers: [%s]}, gone: {servers: ["http://127.0.0.1:1"]}}
session: {cookie: {secure: false}}
limits: {inflight: {key: user, concurrent: 2}}
caches: {pages: {ttl: 1h}}
defaults: {upstream: shop, limits: inflight}
routes:
  - {path: /login, methods: [POST], session: login, limits: off}
  - {path: /cached, cache: pages}
  - {path: /private, session: required}
  - {path: /small, max_body: 3}
  - {path: /gone, upstream: gone}
  - {path: /fixed, respond: {status: 204}}
  - {path: /moved, redirect: {to: /fixed}}
  - {path: /*, session: optional}
`

// placesApp answers /hold when the test lets it, and /break with a part of an answer.
type placesApp struct {
	*httptest.Server
	begun  chan bool
	finish chan bool
}

func newPlacesApp(t testing.TB) *placesApp {
	a := &placesApp{begun: make(chan bool, 100), finish: make(chan bool)}
	a.Server = appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/hold":
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
			a.begun <- true
			select {
			case <-a.finish:
				_, _ = io.WriteString(w, "done")
			case <-r.Context().Done():
			}
		case "/break":
			w.Header().Set("Content-Length", "4000000")
			_, _ = w.Write(make([]byte, 2_000_000))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/bad":
			w.Header().Set("Headgate-Session-Merge", "not JSON")
		case "/ws":
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			defer c.CloseNow()
			a.begun <- true
			for {
				kind, text, err := c.Read(r.Context())
				if err != nil || c.Write(r.Context(), kind, text) != nil {
					return
				}
			}
		default:
			if user := r.URL.Query().Get("user"); user != "" {
				w.Header().Set("Headgate-Login", user)
			}
			_, _ = io.WriteString(w, "hello")
		}
	})
	t.Cleanup(func() { close(a.finish) })
	return a
}

// hold begins a request that lasts, and returns what the client gets of it, and what ends it on the client's side.
func (a *placesApp) hold(t testing.TB, g *gateway) (answer func() string, leave func()) {
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.Addr()+"/hold", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("it is not admitted: %v %v", res, err)
	}
	<-a.begun
	return func() string {
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return string(text)
	}, cancel
}

// free waits until all places are free, and fails where a place is not given back.
func free(t testing.TB, g *gateway, what string) {
	t.Helper()
	eventually(t, what+": the places are free again", func() bool {
		return g.do("GET", "/x").Header.Get("Ratelimit") == `"inflight";r=1`
	})
}

// onPlaces runs a test on two gateways that share a Redis, and on one that has none.
func onPlaces(t *testing.T, test func(t *testing.T, app *placesApp, here, there *gateway)) {
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		redis, app := redistest.Start(t), newPlacesApp(t)
		policy := fmt.Sprintf(withPlaces, redis.URL, app.URL)
		test(t, app, start(t, policy), start(t, policy))
		redis.AssertEveryKeyExpires(t)
	})
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		app := newPlacesApp(t)
		g := start(t, fmt.Sprintf(withPlaces, "", app.URL))
		test(t, app, g, g)
	})
}

func TestRequestsInFlightAreLimited(t *testing.T) {
	t.Parallel()
	onPlaces(t, func(t *testing.T, app *placesApp, here, there *gateway) {
		first, _ := app.hold(t, here)
		_, leave := app.hold(t, there)
		for _, g := range []*gateway{here, there} {
			a := g.do("GET", "/x")
			if a.StatusCode != 429 || a.Header.Get("Retry-After") != "1" || a.Header.Get("Ratelimit-Policy") != `"inflight";q=2;qu="concurrent-requests"` {
				t.Errorf("a third: %d %v", a.StatusCode, a.Header)
			}
		}
		if e := here.admin("GET", "/explain?method=GET&url=/x&ip=127.0.0.1"); !strings.Contains(e.text, `"concurrent": 2`) || !strings.Contains(e.text, `"remaining": 0`) || !strings.Contains(e.text, `"status": 429`) {
			t.Errorf("explain: %s", e.text)
		}
		if l := here.admin("GET", "/limits/inflight?key=ip:127.0.0.1"); !strings.Contains(l.text, `"remaining": 0`) && !strings.Contains(l.text, `"remaining":0`) {
			t.Errorf("the limit's state: %s", l.text)
		}
		app.finish <- true
		app.finish <- true
		if got := first(); got != "done" {
			t.Errorf("%q", got)
		}
		free(t, there, "complete responses")
		_, leave2 := app.hold(t, here)
		leave2()
		leave()
		free(t, there, "a client that left")

		// A user has places of their own.
		cookie := here.login("ada")
		_, leave = app.hold(t, here)
		_, leave2 = app.hold(t, here)
		if a := there.do("GET", "/x", "Cookie", cookie); a.StatusCode != 200 {
			t.Errorf("a user behind the same address: %d", a.StatusCode)
		}
		leave()
		leave2()
		free(t, there, "wrong guesses of the user")
	})
}

// TestEveryEndGivesThePlaceBack: however a request ends.
func TestEveryEndGivesThePlaceBack(t *testing.T) {
	t.Parallel()
	onPlaces(t, func(t *testing.T, app *placesApp, here, there *gateway) {
		for _, tc := range []struct {
			target string
			want   int
		}{
			{"/private", 401}, {"/small", 413}, {"/gone", 502}, {"/fixed", 204}, {"/moved", 302}, {"/bad", 502}, {"/x", 200}, {"/cached", 200},
		} {
			for i := range 5 { // with two places
				method := "GET"
				if tc.want == 413 {
					method = "POST"
				}
				g := []*gateway{here, there}[i%2]
				eventually(t, tc.target+" is not denied", func() bool {
					a := g.send(method, tc.target, strings.NewReader("four"))
					if a.StatusCode != 429 && a.StatusCode != tc.want {
						t.Errorf("%s: %d, want %d", tc.target, a.StatusCode, tc.want)
					}
					return a.StatusCode != 429
				})
			}
		}
		for range 5 {
			res, err := http.Get("http://" + here.Addr() + "/break")
			if err != nil {
				continue
			}
			if _, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("a broken answer looks whole: %d %v", res.StatusCode, res.Header)
			}
			res.Body.Close()
		}
		free(t, there, "answers that broke off")
		here.cached("/cached")
		for range 5 {
			here.do("GET", "/cached")
		}
		free(t, there, "hits of the cache")
	})
}

// TestTheNextRequestFindsThePlaceFree: a client that sends one request after the other, over whatever connection and
// instance, is never denied.
func TestTheNextRequestFindsThePlaceFree(t *testing.T) {
	t.Parallel()
	redis, app := redistest.Start(t), newPlacesApp(t)
	policy := strings.Replace(fmt.Sprintf(withPlaces, redis.URL, app.URL), "concurrent: 2", "concurrent: 1", 1)
	gateways := []*gateway{start(t, policy), start(t, policy)}
	for i := range 300 {
		target := []string{"/x", "/fixed", "/cached"}[i%3]
		if a := gateways[i%2].do("GET", target); a.StatusCode == 429 {
			t.Fatalf("request %d: denied, though the one before is complete", i+1)
		}
	}
}

func TestAWebSocketHoldsItsPlaceAndGivesItBack(t *testing.T) {
	t.Parallel()
	onPlaces(t, func(t *testing.T, app *placesApp, here, there *gateway) {
		ctx := t.Context()
		var sockets []*websocket.Conn
		for _, g := range []*gateway{here, there} {
			c, _, err := websocket.Dial(ctx, "ws://"+g.Addr()+"/ws", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			<-app.begun
			sockets = append(sockets, c)
		}
		for range 3 {
			if got, err := say(sockets[0], "hello"); err != nil || got != "hello" {
				t.Fatalf("%q %v", got, err)
			}
			if a := here.do("GET", "/x"); a.StatusCode != 429 {
				t.Errorf("while two WebSockets are open: %d", a.StatusCode)
			}
		}
		if err := sockets[0].Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Fatal(err)
		}
		sockets[1].CloseNow()
		free(t, here, "closed WebSockets")
	})
}

// TestAReloadKeepsPlaces: requests in flight count under an edited number as well.
func TestAReloadKeepsPlaces(t *testing.T) {
	t.Parallel()
	redis, app := redistest.Start(t), newPlacesApp(t)
	policy := fmt.Sprintf(withPlaces, redis.URL, app.URL)
	var text atomic.Value
	text.Store(policy)
	g := reloadable(t, &text)
	_, leave := app.hold(t, g)
	_, leave2 := app.hold(t, g)
	reload := func(n int) {
		t.Helper()
		text.Store(strings.Replace(policy, "concurrent: 2", fmt.Sprintf("concurrent: %d", n), 1))
		if err := g.Reload("test"); err != nil {
			t.Fatal(err)
		}
	}
	reload(1)
	if a := g.do("GET", "/x"); a.StatusCode != 429 {
		t.Errorf("a third, under one: %d", a.StatusCode)
	}
	reload(3)
	if a := g.do("GET", "/x"); a.StatusCode != 200 || a.Header.Get("Ratelimit") != `"inflight";r=0` {
		t.Errorf("a third, under three: %d %v", a.StatusCode, a.Header)
	}
	reload(2)
	leave()
	leave2()
	free(t, g, "requests of an earlier policy")
}

// TestPlacesUnderLoad: through three gateways never more requests than places reach the app at once.
func TestPlacesUnderLoad(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	var now, most, served atomic.Int64
	app := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
		served.Add(1)
		_, _ = io.WriteString(w, "hello")
	})
	policy := strings.Replace(fmt.Sprintf(withPlaces, redis.URL, app.URL), "concurrent: 2", "concurrent: 7", 1)
	gateways := []*gateway{start(t, policy), start(t, policy), start(t, policy)}
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			for range 30 {
				if a := gateways[i%3].do("GET", "/x"); a.StatusCode != 200 && a.StatusCode != 429 {
					t.Errorf("%d %s", a.StatusCode, a.text)
				}
			}
		})
	}
	wg.Wait()
	if most.Load() > 7 || served.Load() == 0 {
		t.Errorf("%d at once, with 7 places; %d in all", most.Load(), served.Load())
	}
	eventually(t, "all places are free", func() bool { return gateways[0].do("GET", "/x").Header.Get("Ratelimit") == `"inflight";r=6` })
}
