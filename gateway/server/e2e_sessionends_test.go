package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/headgate/headgate/internal/redistest"
)

// talkingApp logs in and out, echoes WebSocket messages, and streams events and lines that begin with one piece.
func talkingApp(t *testing.T) string {
	sockets, err := url.Parse(streamingApp(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	others := httputil.NewSingleHostReverseProxy(sockets)
	return appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/events", "/cached/events":
			w.Header().Set("Content-Type", "text/event-stream")
		case "/lines":
			w.Header().Set("Content-Type", "application/x-ndjson")
		case "/everywhere":
			w.Header().Set("Headgate-Logout", "everywhere")
			return
		case "/ref":
			io.WriteString(w, r.Header.Get("Headgate-Session-Ref"))
			return
		default:
			others.ServeHTTP(w, r)
			return
		}
		io.WriteString(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}).URL
}

const talkingPolicy = `
redis: {url: "%s", timeout: 20s}
upstreams: {app: {servers: [%q]}}
session: {cookie: {secure: false}%s}
caches: {pages: {}}
defaults: {upstream: app}
routes:
  - {name: login, path: /login, methods: [POST], session: login}
  - {name: logout, path: /logout, methods: [POST], session: logout}
  - {name: cached, path: /cached/*, session: required, cache: pages}
  - {name: all, path: /*, session: optional}
`

// open is what a browser has open at one gateway.
type opened struct {
	sockets []*websocket.Conn
	bodies  []*http.Response
}

// open opens a WebSocket, and a stream of each kind over HTTP/1 and HTTP/2.
func (g *gateway) open(cookie string) *opened {
	g.t.Helper()
	c, _, err := g.socket(cookie)
	if err != nil {
		g.t.Fatal(err)
	}
	o := &opened{sockets: []*websocket.Conn{c}}
	if _, err := say(c, "hello"); err != nil {
		g.t.Fatal(err)
	}
	for _, protocol := range []string{"http/1.1", "h2c"} {
		for _, path := range []string{"/events", "/cached/events", "/lines"} {
			r, _ := http.NewRequest("GET", "http://"+g.Addr()+path, nil)
			r.Header.Set("Cookie", cookie)
			res, err := clientOf(g.t, protocol).Do(r)
			if err != nil {
				g.t.Fatal(err)
			}
			g.t.Cleanup(func() { res.Body.Close() })
			if _, err := io.ReadFull(res.Body, make([]byte, len("data: 1\n\n"))); err != nil || res.StatusCode != 200 {
				g.t.Fatalf("%s: %d, %v", path, res.StatusCode, err)
			}
			o.bodies = append(o.bodies, res)
		}
	}
	return o
}

// patience is how long a test waits for an end that comes within two seconds.
const patience = 40 * time.Second

// mustEnd waits until all of it has been ended.
func (o *opened) mustEnd(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, c := range o.sockets {
		if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("the WebSocket has seen %v", err)
		}
	}
	for _, res := range o.bodies {
		timeout := time.AfterFunc(patience, func() { res.Body.Close() })
		if _, err := io.ReadAll(res.Body); !timeout.Stop() || err == nil {
			t.Errorf("%s over %s has seen %v", res.Request.URL.Path, res.Proto, err)
		}
	}
}

// mustBeOpen says something through the WebSockets. (A body is looked at by its end alone.)
func (o *opened) mustBeOpen(t *testing.T) {
	t.Helper()
	for _, c := range o.sockets {
		if _, err := say(c, "still here"); err != nil {
			t.Errorf("the WebSocket has ended: %v", err)
		}
	}
}

func TestOpenStreamsEndWithTheirSession(t *testing.T) {
	t.Parallel()
	const never = ""
	for name, test := range map[string]struct {
		timeouts string
		end      func(b *gateway, cookie string) *answer
	}{
		"logout":            {never, func(b *gateway, cookie string) *answer { return b.do("POST", "/logout", "Cookie", cookie) }},
		"logout everywhere": {never, func(b *gateway, _ string) *answer { return b.do("POST", "/everywhere", "Cookie", b.login("42")) }},
		"by user":           {never, func(b *gateway, _ string) *answer { return b.admin("DELETE", "/sessions?user=42") }},
		"by reference": {never, func(b *gateway, cookie string) *answer {
			return b.admin("DELETE", "/sessions/"+b.do("GET", "/ref", "Cookie", cookie).text)
		}},
		"idle":     {", idle_timeout: 4s", nil},
		"absolute": {", idle_timeout: 6s, absolute_timeout: 6s", nil},
	} {
		for _, where := range []string{"redis", "memory"} {
			t.Run(name+" in "+where, func(t *testing.T) {
				t.Parallel()
				redis := ""
				if where == "redis" {
					redis = redistest.Start(t).URL
				}
				policy := fmt.Sprintf(h2cServer, "") + fmt.Sprintf(talkingPolicy, redis, talkingApp(t), test.timeouts)
				gateways := []*gateway{start(t, policy)}
				if where == "redis" {
					gateways = append(gateways, start(t, policy), start(t, policy))
				}
				b := gateways[len(gateways)-1]
				bystander := start(t, fmt.Sprintf(h2cServer, "")+fmt.Sprintf(talkingPolicy, redis, talkingApp(t), ""))
				other := bystander.open(bystander.login("43"))
				cookie := b.login("42")
				var all []*opened
				for _, g := range gateways {
					all = append(all, g.open(cookie))
				}
				if test.end != nil {
					if a := test.end(b, cookie); a.StatusCode >= 300 {
						t.Fatalf("%d %s", a.StatusCode, a.text)
					}
				}
				for _, o := range all {
					o.mustEnd(t)
				}
				other.mustBeOpen(t)
				eventually(t, "the access log says why", func() bool {
					return strings.Count(b.log.String(), "the session of an open response has ended") == 7
				})
			})
		}
	}
}

func TestUseOfAWebSocketKeepsItsSession(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	policy := fmt.Sprintf(talkingPolicy, redis.URL, talkingApp(t), ", idle_timeout: 8s")
	a, b := start(t, policy), start(t, policy)
	cookie := a.login("42")
	c, _, err := a.socket(cookie)
	if err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); time.Since(begun) < 14*time.Second; time.Sleep(100 * time.Millisecond) {
		if _, err := say(c, "x"); err != nil {
			t.Fatalf("a WebSocket in use has ended after %v: %v", time.Since(begun), err)
		}
	}
	if res := b.do("GET", "/cached/x", "Cookie", cookie); res.StatusCode != 200 {
		t.Errorf("the session of a WebSocket in use has ended: %d", res.StatusCode)
	}
}

// What a session's request has begun to fetch for the cache goes on for those that wait for it.
func TestAPublicResponseDoesNotEndWithTheSessionThatAskedFirst(t *testing.T) {
	t.Parallel()
	first, rest := "data: 1\n\n", make(chan string)
	app := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			w.Header().Set("Headgate-Login", r.FormValue("user"))
			return
		}
		var more <-chan string // none for the session's own
		if r.URL.Path == "/cached/public" {
			more = rest
			w.Header().Set("Cache-Control", "public, max-age=60")
		}
		io.WriteString(w, first)
		w.(http.Flusher).Flush()
		select {
		case text := <-more:
			io.WriteString(w, text)
		case <-r.Context().Done():
		}
	})
	g := start(t, fmt.Sprintf(talkingPolicy, "", app.URL, ""))
	open := func(path, cookie string) *http.Response {
		r, _ := http.NewRequest("GET", "http://"+g.Addr()+path, nil)
		r.Header.Set("Cookie", cookie)
		res, err := plain.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		if _, err := io.ReadFull(res.Body, make([]byte, len(first))); err != nil || res.StatusCode != 200 {
			t.Fatalf("%s: %d, %v", path, res.StatusCode, err)
		}
		return res
	}
	leader := g.login("42")
	public := []*http.Response{open("/cached/public", leader), open("/cached/public", g.login("43"))}
	own := &opened{bodies: []*http.Response{open("/cached/own", leader)}}
	g.admin("DELETE", "/sessions?user=42")
	own.mustEnd(t)
	rest <- "the rest"
	for i, res := range public {
		if text, err := io.ReadAll(res.Body); err != nil || string(text) != "the rest" {
			t.Errorf("client %d: %q, %v", i, text, err)
		}
	}
}
