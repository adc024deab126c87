package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/headgate/headgate/middleware/proxy"
)

// echoSocket is an app server that sends every message back, and reports how
// its connections were closed.
func echoSocket(t testing.TB, closed chan<- websocket.StatusCode) string {
	return origin(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"echo"}})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(8 << 20)
		for {
			kind, msg, err := c.Read(context.Background())
			if err != nil {
				if closed != nil {
					closed <- websocket.CloseStatus(err)
				}
				return
			}
			if err := c.Write(context.Background(), kind, msg); err != nil {
				return
			}
		}
	}).URL
}

func dialSocket(t testing.TB, url string) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(context.Background(), url, &websocket.DialOptions{Subprotocols: []string{"echo"}})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(8 << 20)
	t.Cleanup(func() { c.CloseNow() })
	return c
}

func roundTrip(t testing.TB, c *websocket.Conn, msg []byte) {
	t.Helper()
	if err := c.Write(context.Background(), websocket.MessageBinary, msg); err != nil {
		t.Error(err)
		return
	}
	_, got, err := c.Read(context.Background())
	if err != nil || !bytes.Equal(got, msg) {
		t.Errorf("sent %d bytes, got %d, %v", len(msg), len(got), err)
	}
}

func TestWebSocketsPassThroughAndAreToldToGo(t *testing.T) {
	t.Parallel()
	closed := make(chan websocket.StatusCode, 10)
	upgrades := proxy.NewUpgrades()
	u := newUpstream(t, proxy.Config{Servers: servers(echoSocket(t, closed)), Timeout: 200 * time.Millisecond}, proxy.Options{Upgrades: upgrades})
	gw := front(t, u.Handler(proxy.RouteOptions{}))

	c := dialSocket(t, gw.URL)
	if c.Subprotocol() != "echo" {
		t.Errorf("subprotocol %q", c.Subprotocol())
	}
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 3 << 20} {
		roundTrip(t, c, bytes.Repeat([]byte("x"), size))
	}
	time.Sleep(300 * time.Millisecond) // longer than the timeout: it does not apply any more
	roundTrip(t, c, []byte("still here"))
	if n := upgrades.Len(); n != 1 || u.Status()[0].Active != 1 {
		t.Errorf("%d open, %d active", n, u.Status()[0].Active)
	}

	drained := make(chan error, 1)
	go func() { drained <- upgrades.Drain(context.Background()) }()
	if _, _, err := c.Read(context.Background()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the client saw %v", err)
	}
	if status := <-closed; status != websocket.StatusGoingAway {
		t.Errorf("the server saw %v", status)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	eventually(t, "the place is given back", func() bool { return u.Status()[0].Active == 0 && upgrades.Len() == 0 })

	late := dialSocket(t, gw.URL)
	if _, _, err := late.Read(context.Background()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("a client that came while draining saw %v", err)
	}
}

func TestClientsThatDoNotGoAreCutOffWhenTheDrainEnds(t *testing.T) {
	t.Parallel()
	upgrades := proxy.NewUpgrades()
	u := newUpstream(t, proxy.Config{Servers: servers(echoSocket(t, nil))}, proxy.Options{Upgrades: upgrades})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	conn, err := net.Dial("tcp", gw.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	br := bufio.NewReader(conn)
	if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != 101 {
		t.Fatal(res, err)
	}
	eventually(t, "the connection is known", func() bool { return upgrades.Len() == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := upgrades.Drain(ctx); err != context.DeadlineExceeded {
		t.Errorf("got %v", err)
	}
	rest, err := io.ReadAll(br)
	if want := "\x88\x02\x03\xe9"; string(rest) != want || err != nil {
		t.Errorf("got %q, %v", rest, err)
	}
	eventually(t, "the place is given back", func() bool { return u.Status()[0].Active == 0 && upgrades.Len() == 0 })
}

// A close frame in the middle of another frame would be taken for its payload.
func TestCloseFrameNeverSplitsAnother(t *testing.T) {
	t.Parallel()
	next := make(chan string)
	app := tcpServer(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		for piece := range next {
			_, _ = io.WriteString(c, piece)
		}
	})
	upgrades := proxy.NewUpgrades()
	gw := front(t, newUpstream(t, proxy.Config{Servers: servers(app)}, proxy.Options{Upgrades: upgrades}).Handler(proxy.RouteOptions{}))
	conn, err := net.Dial("tcp", gw.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	br := bufio.NewReader(conn)
	if _, err := http.ReadResponse(br, nil); err != nil {
		t.Fatal(err)
	}
	expect := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(br, got); err != nil || string(got) != want {
			t.Fatalf("got %q, want %q, %v", got, want, err)
		}
	}
	next <- "\x82\x05he" // a binary message of five bytes, begun
	expect("\x82\x05he")
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	drained := make(chan error)
	go func() { drained <- upgrades.Drain(ctx) }()
	time.Sleep(50 * time.Millisecond) // the drain has nothing to write yet
	next <- "llo\x82\x03abc"          // the rest, and a message that comes too late
	expect("llo\x88\x02\x03\xe9")
	close(next)
	<-drained
	if rest, _ := io.ReadAll(br); len(rest) > 0 {
		t.Errorf("after the close frame came %q", rest)
	}
}

func TestWhatAWebSocketClientSendsEarlyIsNotLost(t *testing.T) {
	t.Parallel()
	app := tcpServer(t, func(c net.Conn) {
		br := bufio.NewReader(c)
		if _, err := http.ReadRequest(br); err != nil {
			return
		}
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		got := make([]byte, 10)
		_, _ = io.ReadFull(br, got)
		_, _ = c.Write(bytes.ToUpper(got))
	})
	gw := gateway(t, proxy.Config{Servers: servers(app)}, proxy.RouteOptions{})
	conn, err := net.Dial("tcp", gw.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly ")
	time.Sleep(20 * time.Millisecond)
	fmt.Fprint(conn, "late")
	br := bufio.NewReader(conn)
	if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != 101 {
		t.Fatal(res, err)
	}
	if got, err := io.ReadAll(br); string(got) != "EARLY LATE" {
		t.Errorf("got %q, %v", got, err)
	}
}

// Once a connection speaks h2c, a client can ask the server for anything.
func TestOnlyWebSocketIsUpgradedTo(t *testing.T) {
	t.Parallel()
	seen := make(chan http.Header, 1)
	app := h2cServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen <- r.Header.Clone() }))
	for _, cfg := range []proxy.Config{{}, {Protocol: proxy.H2C}} {
		cfg.Servers = servers(app.URL)
		u := newUpstream(t, cfg, proxy.Options{})
		gw := front(t, u.Handler(proxy.RouteOptions{}))
		for _, upgrade := range []string{"h2c", "H2C", "tls/1.2", "HTTP/2.0", "websocket, h2c", "h2c\r\nUpgrade: websocket", "tcp", "websocket"} {
			res := raw(t, gw, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nUpgrade: "+upgrade+"\r\n\r\n")
			h := <-seen
			if res.StatusCode != http.StatusOK {
				t.Errorf("%q: %d", upgrade, res.StatusCode)
			}
			if allowed := upgrade == "websocket" && cfg.Protocol != proxy.H2C; h.Get("Http2-Settings") != "" || (h.Get("Upgrade") != "" || h.Get("Connection") != "") != allowed {
				t.Errorf("%q: %v arrived", upgrade, h)
			}
		}
		if s := u.Status()[0]; s.Failures != 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestRefusedUpgradeIsAnOrdinaryResponse(t *testing.T) {
	t.Parallel()
	app := origin(t, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	gw := gateway(t, proxy.Config{Servers: servers(app.URL)}, proxy.RouteOptions{})
	_, res, err := websocket.Dial(context.Background(), gw.URL, nil)
	if err == nil || res == nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("%v, %v", res, err)
	}
}

func TestUpgradeToAnotherProtocolThanAskedForIsRefused(t *testing.T) {
	t.Parallel()
	app := tcpServer(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	gw := gateway(t, proxy.Config{Servers: servers(app)}, proxy.RouteOptions{})
	res := raw(t, gw, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if res.StatusCode != http.StatusBadGateway {
		t.Errorf("got %d", res.StatusCode)
	}
}

func TestAThousandWebSocketsAndEventStreams(t *testing.T) {
	const n = 1000
	sockets := echoSocket(t, nil)
	events := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
		<-r.Context().Done()
	})
	upgrades := proxy.NewUpgrades()
	options := proxy.Options{Upgrades: upgrades}
	ws := newUpstream(t, proxy.Config{Servers: servers(sockets)}, options)
	sse := newUpstream(t, proxy.Config{Servers: servers(events.URL)}, options)
	mux := http.NewServeMux()
	mux.Handle("/ws", ws.Handler(proxy.RouteOptions{}))
	mux.Handle("/events", sse.Handler(proxy.RouteOptions{}))
	gw := front(t, mux)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	var talking, streaming atomic.Int64
	all := make(chan struct{}) // closed when all are connected: they are concurrent
	dialing := make(chan struct{}, 64)
	for range n {
		wg.Go(func() {
			dialing <- struct{}{}
			c, _, err := websocket.Dial(ctx, gw.URL+"/ws", nil)
			<-dialing
			if err != nil {
				t.Error(err)
				return
			}
			defer c.CloseNow()
			talking.Add(1)
			<-all
			for i := range 3 {
				roundTrip(t, c, fmt.Append(nil, "message ", i))
			}
			_ = c.Close(websocket.StatusNormalClosure, "")
		})
		wg.Go(func() {
			req, _ := http.NewRequestWithContext(ctx, "GET", gw.URL+"/events", nil)
			dialing <- struct{}{}
			res, err := client.Do(req)
			<-dialing
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			streaming.Add(1)
			<-all
			want := "data: 0\n\ndata: 1\n\ndata: 2\n\n"
			got := make([]byte, len(want)) // flushed, though the response goes on
			if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != want {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	eventually(t, "all are connected", func() bool {
		return t.Failed() || talking.Load() == n && streaming.Load() == n && upgrades.Len() == n
	})
	close(all)
	wg.Wait()
	cancel()
	eventually(t, "all places are given back", func() bool {
		return ws.Status()[0].Active == 0 && sse.Status()[0].Active == 0 && upgrades.Len() == 0
	})
}
