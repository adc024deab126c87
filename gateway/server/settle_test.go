package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/redistest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
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
  - {path: /elsewhere}
  - {path: /off, session: off}
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
	case "/elsewhere", "/off":
		w.Header().Set("Headgate-Login", "alice")
	}
}

func TestTheGatewaysOwnErrorsAreNotTheClientsFailures(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(countsFailures, appFunc(t, failingApp).URL))
	for _, tc := range []struct {
		target, accept string
		want           int
	}{
		{"/gone", "", 502}, {"/slow", "", 504}, {"/user", "text/html", 303}, {"/malformed", "", 502},
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

// TestWhatTheGatewayRefusesIsTheClientsFailure: otherwise API keys and session cookies
// could be guessed without end.
func TestWhatTheGatewayRefusesIsTheClientsFailure(t *testing.T) {
	t.Parallel()
	const policy = `
redis: {url: "%s", key_prefix: "case%d:"}
upstreams: {shop: {servers: [%s]}}
clients: {acme: {key_sha256: 85dbe15d75ef9308c7ae0f33c7a324cc6f4bf519a2ed2f3027bd33c140a4f9aa}}
limits: {failures: {requests: 3, window: 1h, key: [ip, route], count: %s}}
session: {cookie: {secure: false}}
defaults: {upstream: shop, limits: failures}
routes:
  - {path: /key, client: required}
  - {path: /user, session: required}
  - {path: /login, session: login, methods: [POST]}
  - {path: /small, max_body: 3}
  - {path: /*}
`
	for _, url := range []string{"", redistest.Start(t).URL} {
		for i, tc := range []struct {
			name, count, method, target string
			headers                     []string
			want                        int
		}{
			{"a wrong API key", "failed", "GET", "/key", []string{"X-API-Key", "guess"}, 401},
			{"a wrong API key, by status", "[401]", "GET", "/key", []string{"Authorization", "Bearer guess"}, 401},
			{"a made-up session cookie", "failed", "GET", "/user", []string{"Cookie", "session=guess"}, 401},
			{"a made-up session cookie, by status", "[401]", "GET", "/user", []string{"Cookie", "session=guess"}, 401},
			{"a cross-site login", "[403]", "POST", "/login", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
			{"a body that is too large", "failed", "POST", "/small", nil, 413},
			{"a body that is too large, by status", "[413]", "POST", "/small", nil, 413},
		} {
			g := start(t, fmt.Sprintf(policy, url, i, app(t, "a").URL, tc.count))
			var got []int
			for range 12 {
				got = append(got, g.send(tc.method, tc.target, strings.NewReader("four"), tc.headers...).StatusCode)
			}
			want := append(slices.Repeat([]int{tc.want}, 3), slices.Repeat([]int{429}, 9)...)
			if !slices.Equal(got, want) {
				t.Errorf("%s (Redis %q): %v, want %v", tc.name, url, got, want)
			}
			if a := g.do("GET", "/other"); a.StatusCode != 200 {
				t.Errorf("%s: another route: %d", tc.name, a.StatusCode)
			}
		}
	}
}

// A login on a route that has none is refused, and tells a right password all the same:
// it counts as a failure.
func TestALoginOnAnotherRouteIsTheClientsFailure(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(countsFailures, appFunc(t, failingApp).URL))
	for _, target := range []string{"/elsewhere", "/off"} {
		for i, want := range []int{502, 502, 429, 429} {
			if a := g.send("POST", target, strings.NewReader("four")); a.StatusCode != want {
				t.Errorf("%s, request %d: %d, want %d: %s", target, i+1, a.StatusCode, want, a.text)
			}
		}
	}
}

// To a gRPC client a refusal is 200 with a grpc-status. It counts as what it means.
func TestRefusedGRPCCallsCountAsFailures(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(h2cServer, "")+`
upstreams: {app: {servers: ["http://127.0.0.1:1"]}}
clients: {acme: {key_sha256: 85dbe15d75ef9308c7ae0f33c7a324cc6f4bf519a2ed2f3027bd33c140a4f9aa}}
limits: {failures: {requests: 3, window: 1h, count: [401]}}
routes: [{path: /*, upstream: app, limits: failures, client: required}]
`)
	client := grpcClient(t, g.Addr(), insecure.NewCredentials())
	for i := range 6 {
		want := codes.Unauthenticated
		if i >= 3 {
			want = codes.Unavailable // as gRPC takes a 429
		}
		if _, err := client.UnaryCall(soon(t), &pb.SimpleRequest{}); status.Code(err) != want {
			t.Errorf("call %d: %v, want %v", i+1, err, want)
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
