package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// countsFailures has one limit of two failures on each route.
const countsFailures = `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}}
upstreams:
  shop: {servers: [%s]}
  gone: {servers: ["http://127.0.0.1:1"]}
  slow: {servers: [%[1]s], timeout: 50ms}
clients: {acme: {key_sha256: 85dbe15d75ef9308c7ae0f33c7a324cc6f4bf519a2ed2f3027bd33c140a4f9aa}}
limits: {failures: {requests: 2, window: 1h, algorithm: fixed_window, key: [ip, route], count: failed}}
caches: {pages: {ttl: 1m, errors: {404: 1m}}}
session: {cookie: {secure: false}}
defaults: {upstream: shop, limits: failures}
routes:
  - {path: /gone, upstream: gone}
  - {path: /slow, upstream: slow}
  - {path: /small, max_body: 3}
  - {path: /key, client: required}
  - {path: /user, session: required}
  - {path: /malformed}
  - {path: /missing, cache: pages}
  - {path: /ws}
  - {path: /hang}
  - {path: /login, session: login}
  - {path: /*}
`

func failingApp(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // else it would not notice that the gateway leaves
	switch r.URL.Path {
	case "/missing":
		http.NotFound(w, r)
	case "/slow", "/hang", "/login":
		<-r.Context().Done()
	case "/malformed":
		w.Header().Set("Headgate-Session-Merge", "not JSON")
	}
}

func TestTheGatewaysOwnRefusalsAreNotTheClientsFailures(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(countsFailures, appFunc(t, failingApp).URL))
	for _, tc := range []struct {
		target, accept string
		want           int
	}{
		{"/gone", "", 502}, {"/slow", "", 504}, {"/small", "", 413}, {"/key", "", 401}, {"/user", "", 401}, {"/user", "text/html", 303}, {"/malformed", "", 502},
	} {
		for i := range 4 {
			method := "POST"
			if tc.want == 303 {
				method = "GET"
			}
			if a := g.send(method, tc.target, strings.NewReader("four"), "Accept", tc.accept); a.StatusCode != tc.want {
				t.Errorf("%s, request %d: %d, want %d: %s", tc.target, i+1, a.StatusCode, tc.want, a.text)
			}
		}
	}
}

func TestStoredFailuresCountLikeTheAppsOwn(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(countsFailures, appFunc(t, failingApp).URL))
	for i, want := range []int{404, 404, 429} {
		if a := g.do("GET", "/missing"); a.StatusCode != want {
			t.Errorf("request %d: %d, want %d", i+1, a.StatusCode, want)
		}
	}
}

// Otherwise a password could be tried as often as one likes, by leaving before
// the answer.
func TestWhoLeavesBeforeTheAnswerIsCounted(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"/hang", "/login"} {
		begun := make(chan bool, 3)
		g := start(t, fmt.Sprintf(countsFailures, appFunc(t, func(w http.ResponseWriter, r *http.Request) {
			begun <- true
			failingApp(w, r)
		}).URL))
		for i := range 2 {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-begun
				cancel()
			}()
			r, err := http.NewRequestWithContext(ctx, "POST", "http://"+g.Addr()+target, nil)
			if err != nil {
				t.Fatal(err)
			}
			if res, err := plain.Do(r); err == nil {
				t.Fatalf("an answer: %d", res.StatusCode)
			}
			eventually(t, "the gateway has noticed", func() bool { return strings.Count(g.log.String(), `"status":499`) == i+1 })
		}
		if a := g.do("POST", target); a.StatusCode != 429 {
			t.Errorf("%s: the third attempt: %d", target, a.StatusCode)
		}
	}
}

func TestAWebSocketIsSettledAndLoggedAs101(t *testing.T) {
	t.Parallel()
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		rw.ReadByte()
	})
	g := start(t, fmt.Sprintf(countsFailures, shop.URL))
	var open []net.Conn
	for i := range 5 {
		c, err := net.Dial("tcp", g.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		status := make([]byte, len("HTTP/1.1 101"))
		if _, err := io.ReadFull(c, status); err != nil || string(status) != "HTTP/1.1 101" {
			t.Fatalf("WebSocket %d: %s %v", i+1, status, err)
		}
		open = append(open, c)
	}
	for _, c := range open {
		c.Close()
	}
	eventually(t, "the access log says 101", func() bool { return strings.Count(g.log.String(), `"status":101`) == 5 })
}

func TestAClientThatLeavesACacheFillIsNoErrorOfOurs(t *testing.T) {
	t.Parallel()
	begun := make(chan bool, 1)
	finish := make(chan bool)
	g := start(t, fmt.Sprintf(withCache, "", appFunc(t, slowAnswer(begun, finish)).URL))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+g.Addr()+"/top/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-begun
		cancel()
	}()
	if _, err := plain.Do(r); err == nil {
		t.Fatal("an answer")
	}
	eventually(t, "a log line", func() bool { return strings.Contains(g.log.String(), `"uri":"/top/x"`) })
	close(finish)
	if !strings.Contains(g.log.String(), `"status":499`) {
		t.Errorf("%s", g.log)
	}
}
