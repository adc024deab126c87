package proxy_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/headgate/headgate/middleware/proxy"
)

// fourWorkers is an app that answers four requests at a time: the others wait for a
// worker to be free.
func fourWorkers(t *testing.T, answer http.HandlerFunc) string {
	workers := make(chan struct{}, 4)
	return origin(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case workers <- struct{}{}:
			defer func() { <-workers }()
			answer(w, r)
		case <-r.Context().Done():
		}
	}).URL
}

// connect opens a connection to the gateway, and sends the text.
func connect(t *testing.T, url, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

// Clients that send their requests slowly hold none of the app's workers.
func TestSlowRequestsHoldNoWorker(t *testing.T) {
	t.Parallel()
	app := fourWorkers(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, strconv.FormatInt(n, 10))
	})
	arrived := make(chan struct{}, 5)
	u := newUpstream(t, proxy.Config{Servers: servers(app)}, proxy.Options{})
	h := u.Handler(proxy.RouteOptions{})
	gw := front(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		h.ServeHTTP(w, r)
	}))
	var slow []net.Conn
	for range 4 {
		slow = append(slow, connect(t, gw.URL, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\nsome"))
		<-arrived
	}
	if got := get(t, gw.URL); got.status != 200 {
		t.Errorf("everyone else is answered %d, %v", got.status, got.err)
	}
	if s := u.Status()[0]; s.Requests != 1 {
		t.Errorf("the app was sent %d requests", s.Requests)
	}
	for _, c := range slow {
		if _, err := io.WriteString(c, strings.Repeat("x", 296)); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(res.Body); string(text) != "300" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
	}
}

// Clients that do not take their answers hold none of the app's workers, and no
// place of max_connections.
func TestUnreadAnswersHoldNoWorker(t *testing.T) {
	t.Parallel()
	const size = 20 << 20
	for name, length := range map[string]string{"of known length": strconv.Itoa(size), "in chunks": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			block := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
			app := fourWorkers(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/large" {
					return
				}
				if length != "" {
					w.Header().Set("Content-Length", length)
				}
				for range size / len(block) {
					if _, err := w.Write(block); err != nil {
						t.Error("the answer broke off:", err)
						return
					}
				}
			})
			buffers := proxy.NewBuffers(2<<20, t.TempDir())
			u := newUpstream(t, proxy.Config{Servers: servers(app), MaxConnections: 5}, proxy.Options{Buffers: buffers})
			gw := front(t, u.Handler(proxy.RouteOptions{}))
			var slow []net.Conn
			for range 4 {
				c := connect(t, gw.URL, "GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
				slow = append(slow, c)
			}
			eventually(t, "the requests are there", func() bool { return u.Status()[0].Requests == 4 })
			if got := get(t, gw.URL); got.status != 200 {
				t.Errorf("everyone else is answered %d, %v", got.status, got.err)
			}
			eventually(t, "all places are free", func() bool { return u.Status()[0].Active == 0 })
			for _, c := range slow {
				res, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(res.Body)
				if err != nil || len(text) != size || !bytes.Equal(text[size-len(block):], block) {
					t.Errorf("%d bytes, %v", len(text), err)
				}
			}
			eventually(t, "the memory is free", func() bool { return buffers.Used() == 0 })
		})
	}
}

// A client that leaves ends the answer that is read ahead for it, and the app's work.
func TestClientThatLeavesEndsTheReadingAhead(t *testing.T) {
	t.Parallel()
	for name, protocol := range map[string]proxy.Protocol{"HTTP/1.1": proxy.HTTP1, "HTTP/2": proxy.H2C} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan struct{})
			app := eitherOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				defer close(ended)
				block := make([]byte, 64<<10)
				for range 400 { // more than the sockets' buffers take
					if _, err := w.Write(block); err != nil {
						return
					}
				}
				w.(http.Flusher).Flush()
				<-r.Context().Done() // the answer is read ahead, and more is waited for
			})
			buffers := proxy.NewBuffers(2<<20, t.TempDir())
			u := newUpstream(t, proxy.Config{Servers: servers(app), Protocol: protocol}, proxy.Options{Buffers: buffers})
			gw := front(t, u.Handler(proxy.RouteOptions{}))
			c := connect(t, gw.URL, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			eventually(t, "the answer is read ahead", func() bool { return buffers.Used() > 0 })
			c.Close()
			<-ended
			eventually(t, "nothing is held", func() bool { return buffers.Used() == 0 && u.Status()[0].Active == 0 })
		})
	}
}

// eitherOrigin is an app that speaks HTTP/1.1, and HTTP/2 without TLS.
func eitherOrigin(t *testing.T, answer http.HandlerFunc) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: answer, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return "http://" + l.Addr().String()
}

// What has no room is streamed, in both directions.
func TestBodiesBeyondAllBoundsAreWhole(t *testing.T) {
	t.Parallel()
	for name, bounds := range map[string]proxy.Buffer{
		"memory and files": {Requests: 64 << 10, Answers: 64 << 10, Spool: 256 << 10},
		"memory":           {Requests: 64 << 10, Answers: 64 << 10, Spool: -1},
		"none":             {Requests: -1, Answers: -1, Spool: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := origin(t, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				_, _ = w.Write(body)
			})
			buffers := proxy.NewBuffers(1<<20, t.TempDir())
			u := newUpstream(t, proxy.Config{Servers: servers(app.URL), Buffer: bounds}, proxy.Options{Buffers: buffers})
			gw := front(t, u.Handler(proxy.RouteOptions{}))
			want := bytes.Repeat([]byte("0123456789abcde\n"), 200<<10)
			res, err := http.Post(gw.URL, "text/plain", bytes.NewReader(want))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if got, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
			}
			eventually(t, "the memory is free", func() bool { return buffers.Used() == 0 })
		})
	}
}

// Where both sides may wait for each other, the app is asked at once.
func TestRequestsThatAreNotReadAhead(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		header string
		route  proxy.RouteOptions
		buffer proxy.Buffer
	}{
		"gRPC":         {header: "Content-Type: application/grpc+proto\r\n"},
		"Expect":       {header: "Expect: 100-continue\r\n"},
		"an upgrade":   {header: "Upgrade: websocket\r\nConnection: upgrade\r\n"},
		"buffer: off":  {route: proxy.RouteOptions{Unbuffered: true}},
		"requests: 0":  {buffer: proxy.Buffer{Requests: -1}},
		"memory alone": {header: "X: " + strings.Repeat("x", 10) + "\r\n", buffer: proxy.Buffer{Requests: 4, Spool: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := make(chan struct{})
			app := origin(t, func(w http.ResponseWriter, r *http.Request) {
				close(asked)
				_, _ = io.Copy(io.Discard, r.Body)
			})
			u := newUpstream(t, proxy.Config{Servers: servers(app.URL), Buffer: tt.buffer}, proxy.Options{})
			gw := front(t, u.Handler(tt.route))
			connect(t, gw.URL, "POST / HTTP/1.1\r\nHost: a\r\n"+tt.header+"Content-Length: 300\r\n\r\nsome")
			<-asked
		})
	}
}

// A body that can't be read to its end reaches no server.
func TestBodiesThatFailReachNoServer(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, proxy.Config{Servers: servers(named(t, "a").URL)}, proxy.Options{})
	h := u.Handler(proxy.RouteOptions{})
	gw := front(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 1000)
		h.ServeHTTP(w, r)
	}))
	res := raw(t, gw, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n"+strings.Repeat("x", 1500))
	if res.StatusCode != http.StatusRequestEntityTooLarge || !res.Close {
		t.Errorf("got %d, close: %t", res.StatusCode, res.Close)
	}
	if s := u.Status()[0]; s.Requests != 0 || s.Active != 0 {
		t.Errorf("%+v", s)
	}
}
