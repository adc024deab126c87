package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// streamingApp logs in, sends WebSocket messages back with the user's name, and
// tells server-sent events when it is told to.
func streamingApp(t *testing.T, events <-chan string) string {
	return appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		user := r.Header.Get("Headgate-User")
		switch r.URL.Path {
		case "/login":
			w.Header().Set("Headgate-Login", r.FormValue("user"))
		case "/ws":
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			defer c.CloseNow()
			for {
				kind, msg, err := c.Read(r.Context())
				if err != nil || c.Write(r.Context(), kind, append([]byte(user+": "), msg...)) != nil {
					return
				}
			}
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			for {
				select {
				case e, more := <-events:
					if !more {
						return
					}
					fmt.Fprintf(w, "data: %s %s\n\n", user, e)
					w.(http.Flusher).Flush()
				case <-r.Context().Done():
					return
				}
			}
		default:
			fmt.Fprintf(w, "%s", r.URL.Path)
		}
	}).URL
}

// streamingPolicy has sessions, limits and a cache on all routes.
const streamingPolicy = `
upstreams: {app: {servers: [%q], timeout: 20s, idle_timeout: 1s}}
session: {cookie: {secure: false}}
caches: {pages: {ttl: 1m}}
limits: {per-ip: {requests: %d, window: 1h}, attempts: {key: [ip, route], requests: 100, window: 1h, count: failed}}
defaults: {upstream: app, limits: [per-ip, attempts], cache: pages}
routes:
  - {name: login, path: /login, methods: [POST], session: login}
  - {name: ws, path: /ws, session: required}
  - {name: events, path: /events, session: required}
  - {name: more, path: %s}
`

func (g *gateway) socket(cookie string) (*websocket.Conn, *http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, res, err := websocket.Dial(ctx, "ws://"+g.Addr()+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {cookie}}})
	if err == nil {
		g.t.Cleanup(func() { c.CloseNow() })
	}
	return c, res, err
}

func say(c *websocket.Conn, text string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		return "", err
	}
	_, answer, err := c.Read(ctx)
	return string(answer), err
}

func TestWebSocketsOutliveReloadsAndAreToldToGoAtTheEnd(t *testing.T) {
	t.Parallel()
	url := streamingApp(t, nil)
	g := start(t, fmt.Sprintf(streamingPolicy, url, 10_000, "/one"))
	cookie := g.login("42")
	if _, res, err := g.socket("nothing=1"); err == nil || res == nil || res.StatusCode != 401 {
		t.Fatalf("without a session: %v", err)
	}

	const sockets = 100
	conns := make([]*websocket.Conn, sockets)
	each := func(f func(i int)) {
		var all sync.WaitGroup
		for i := range sockets {
			all.Go(func() { f(i) })
		}
		all.Wait()
	}
	each(func(i int) {
		var err error
		if conns[i], _, err = g.socket(cookie); err != nil {
			t.Errorf("socket %d: %v", i, err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	talk := func(when string) {
		t.Helper()
		each(func(i int) {
			if got, err := say(conns[i], fmt.Sprint(i)); err != nil || got != fmt.Sprintf("42: %d", i) {
				t.Errorf("%s, socket %d: %q, %v", when, i, got, err)
			}
		})
	}
	talk("at first")
	for i := range 3 {
		next := fmt.Sprintf(streamingPolicy, url, 10_000+i, fmt.Sprintf("/two-%d", i))
		if err := g.Run(parse(t, next), "test"); err != nil {
			t.Fatal(err)
		}
		if a := g.do("GET", fmt.Sprintf("/two-%d", i)); a.StatusCode != 200 {
			t.Fatalf("the new policy is not in force: %d", a.StatusCode)
		}
		talk("after a reload")
	}
	// Even when their upstream is no longer in the policy.
	gone := fmt.Sprintf("upstreams: {other: {servers: [%q]}}\nroutes: [{name: all, path: /*, upstream: other}]\n", url)
	if err := g.Run(parse(t, gone), "test"); err != nil {
		t.Fatal(err)
	}
	talk("after their upstream has left")

	var told atomic.Int64
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		ended <- g.Shutdown(ctx)
	}()
	each(func(i int) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, _, err := conns[i].Read(ctx)
		if websocket.CloseStatus(err) == websocket.StatusGoingAway {
			told.Add(1)
		} else {
			t.Errorf("socket %d ended with %v", i, err)
		}
	})
	if err := <-ended; err != nil || told.Load() != sockets {
		t.Errorf("Shutdown: %v, %d of %d told", err, told.Load(), sockets)
	}
}

func TestWebSocketUpgradesCountAgainstLimits(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(streamingPolicy, streamingApp(t, nil), 3, "/one"))
	cookie := g.login("42") // one
	for i, want := range []int{101, 101, 429, 429} {
		c, res, err := g.socket(cookie)
		if res == nil || res.StatusCode != want {
			t.Fatalf("upgrade %d: %v", i, err)
		}
		if want == 101 {
			if got, err := say(c, "x"); err != nil || got != "42: x" {
				t.Errorf("%q, %v", got, err)
			}
		}
	}
}

func TestServerSentEventsComeOneByOne(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http/1.1", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			events := make(chan string)
			url := streamingApp(t, events)
			g := start(t, fmt.Sprintf(h2cServer, "")+fmt.Sprintf(streamingPolicy, url, 1000, "/one"))
			r, err := http.NewRequest("GET", "http://"+g.Addr()+"/events", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Cookie", g.login("42"))
			r.Header.Set("Accept", "text/event-stream")
			res, err := clientOf(t, protocol).Do(r) // the header comes before the first event
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
				t.Fatalf("%d %v", res.StatusCode, res.Header)
			}
			lines := bufio.NewReader(res.Body)
			next := func(want string) {
				t.Helper()
				got, err := lines.ReadString('\n')
				if _, err2 := lines.ReadString('\n'); err != nil || err2 != nil || got != "data: 42 "+want+"\n" {
					t.Fatalf("%q, %v, %v", got, err, err2)
				}
			}
			for i := range 20 { // the next one is told when this one has arrived
				events <- fmt.Sprint(i)
				next(fmt.Sprint(i))
			}
			if err := g.Run(parse(t, fmt.Sprintf(h2cServer, "")+fmt.Sprintf(streamingPolicy, url, 1000, "/two")), "test"); err != nil {
				t.Fatal(err)
			}
			events <- "after a reload"
			next("after a reload")
			close(events)
			if _, err := lines.ReadByte(); !errors.Is(err, io.EOF) {
				t.Errorf("the end: %v", err)
			}
		})
	}
}
