package http1client

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/http1"
)

// app is an app server of which the test writes the bytes.
type app struct {
	l     net.Listener
	conns atomic.Int64
}

// startApp starts one, which calls serve for each request.
func startApp(t *testing.T, tlsConfig *tls.Config, serve func(c net.Conn, r *http.Request, nth int)) *app {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &app{l: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			a.conns.Add(1)
			if tlsConfig != nil {
				c = tls.Server(c, tlsConfig)
			}
			go func() {
				defer c.Close()
				br := bufio.NewReader(c)
				for n := 1; ; n++ {
					r, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					serve(c, r, n)
				}
			}()
		}
	}()
	return a
}

func (a *app) client(t *testing.T, o Options) *Client {
	o.Address = a.l.Addr().String()
	if o.MaxIdle == 0 {
		o.MaxIdle = 10
	}
	c := New(o)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func answer(c net.Conn, body string) {
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// get sends a request and returns the response's body, or the error.
func get(t *testing.T, c *Client) string {
	t.Helper()
	req, _ := http.NewRequest("GET", "http://a/", nil)
	res, err := c.RoundTrip(req)
	if err != nil {
		return "error: " + err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(body)
}

// certificates returns both ends' configurations.
func certificates(t *testing.T) (server, client *tls.Config) {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates},
		&tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}
}

func TestConnectionIsUsedAgain(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		var server, client *tls.Config
		if secure {
			server, client = certificates(t) // TLS 1.3 sends tickets behind the handshake
		}
		a := startApp(t, server, func(c net.Conn, _ *http.Request, n int) { answer(c, fmt.Sprint(n)) })
		c := a.client(t, Options{TLS: client})
		for i := 1; i <= 50; i++ {
			if got := get(t, c); got != fmt.Sprint(i) {
				t.Fatalf("TLS %t, request %d: got %q", secure, i, got)
			}
		}
		if n := a.conns.Load(); n != 1 {
			t.Errorf("TLS %t: %d connections", secure, n)
		}
	}
}

// What comes on a connection while it is unused is noticed when it is taken: bytes, a close, a part of a TLS record.
func TestUnusedConnectionIsLookedAt(t *testing.T) {
	t.Parallel()
	const surplus = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nSMUGGLED"
	record := []byte{23, 3, 3, 0, 100, 1, 2, 3} // of TLS, and not whole
	for _, tc := range []struct {
		name   string
		secure bool
		late   func(c net.Conn)
	}{
		{"bytes", false, func(c net.Conn) { _, _ = io.WriteString(c, surplus) }},
		{"one byte", false, func(c net.Conn) { _, _ = io.WriteString(c, "\n") }},
		{"a close", false, func(c net.Conn) { c.Close() }},
		{"a half close", false, func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() }},
		{"a reset", false, func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); c.Close() }},
		{"TLS, bytes", true, func(c net.Conn) { _, _ = io.WriteString(c, surplus) }},
		{"TLS, a close", true, func(c net.Conn) { c.Close() }},
		{"TLS, a close_notify", true, func(c net.Conn) { _ = c.(*tls.Conn).CloseWrite() }},
		{"TLS, a close below", true, func(c net.Conn) { c.(*tls.Conn).NetConn().Close() }},
		{"TLS, a part of a record", true, func(c net.Conn) { _, _ = c.(*tls.Conn).NetConn().Write(record) }},
		{"TLS, a part of a record's head", true, func(c net.Conn) { _, _ = c.(*tls.Conn).NetConn().Write(record[:3]) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var server, client *tls.Config
			if tc.secure {
				server, client = certificates(t)
			}
			first := make(chan net.Conn, 1)
			var again atomic.Bool
			a := startApp(t, server, func(c net.Conn, _ *http.Request, n int) {
				if n == 1 {
					select {
					case first <- c:
					default:
					}
				} else {
					again.Store(true)
				}
				answer(c, "own")
			})
			c := a.client(t, Options{TLS: client})
			if got := get(t, c); got != "own" {
				t.Fatalf("got %q", got)
			}
			tc.late(<-first) // on loopback it has arrived when this returns
			if got := get(t, c); got != "own" {
				t.Errorf("got %q", got)
			}
			if again.Load() {
				t.Error("the connection was used again")
			}
			if n := a.conns.Load(); n != 2 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

func TestUnusedConnectionsEnd(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{IdleTimeout: 30 * time.Millisecond}, {MaxAge: 30 * time.Millisecond}, {}} {
		ended := make(chan struct{}, 1)
		a := startApp(t, nil, func(c net.Conn, _ *http.Request, _ int) {
			answer(c, "x")
			if n, err := c.Read(make([]byte, 1)); n == 0 && err != nil {
				ended <- struct{}{}
			}
		})
		c := a.client(t, o)
		if got := get(t, c); got != "x" {
			t.Fatalf("got %q", got)
		}
		if o == (Options{}) {
			c.CloseIdleConnections()
		}
		<-ended
		c.mu.Lock()
		if len(c.idle) > 0 || c.timer != nil {
			t.Errorf("%+v: %d unused connections are kept, timer %v", o, len(c.idle), c.timer)
		}
		c.mu.Unlock()
	}
}

func TestConnectionsBeyondTheirAgeTakeNoRequest(t *testing.T) {
	t.Parallel()
	a := startApp(t, nil, func(c net.Conn, _ *http.Request, n int) { answer(c, fmt.Sprint(n)) })
	c := a.client(t, Options{MaxAge: time.Nanosecond})
	for range 3 {
		if got := get(t, c); got != "1" {
			t.Errorf("got %q", got)
		}
	}
}

// timed is a Caller with a deadline.
type timed struct {
	deadline time.Time
	silence  time.Duration
	statuses []int
}

func (c *timed) Deadline() time.Time    { return c.deadline }
func (c *timed) Silence() time.Duration { return c.silence }

func (c *timed) Interim(status int, _ http.Header) error {
	c.statuses = append(c.statuses, status)
	return nil
}

func TestWaits(t *testing.T) {
	t.Parallel()
	quiet := startApp(t, nil, func(c net.Conn, r *http.Request, _ int) {
		if r.URL.Path == "/body" {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
		}
		_, _ = c.Read(make([]byte, 1)) // until the client gives up
	})
	gone := errors.New("the client is gone")
	for _, tc := range []struct {
		name    string
		path    string
		wait    time.Duration
		caller  timed
		cancel  bool
		failure error
	}{
		{name: "head, deadline", path: "/", wait: 200 * time.Millisecond, failure: ErrTimeout},
		{name: "head, context", path: "/", cancel: true, failure: gone},
		{name: "body, silence", path: "/body", caller: timed{silence: 50 * time.Millisecond}, failure: ErrTimeout},
		{name: "body, context", path: "/body", cancel: true, failure: gone},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := quiet.client(t, Options{})
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			if tc.cancel {
				time.AfterFunc(50*time.Millisecond, func() { cancel(gone) })
			}
			if tc.wait > 0 {
				tc.caller.deadline = time.Now().Add(tc.wait)
			}
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://a"+tc.path, nil)
			res, err := c.Do(req, &tc.caller, false)
			if tc.path == "/body" {
				if err != nil {
					t.Fatal(err)
				}
				var body []byte
				body, err = io.ReadAll(res.Body)
				if string(body) != "hello" {
					t.Errorf("got %q", body)
				}
			} else if facts := new(Error); !errors.As(err, &facts) || !facts.Connected || !facts.Sent || facts.Begun || facts.Reused {
				t.Errorf("got %+v", err)
			}
			if !errors.Is(err, tc.failure) {
				t.Errorf("got %v", err)
			}
			if c.mu.Lock(); len(c.idle) > 0 {
				t.Error("the connection is kept")
			}
			c.mu.Unlock()
		})
	}
}

func TestErrorsTellHowFarTheRequestCame(t *testing.T) {
	t.Parallel()
	var last atomic.Int64
	a := startApp(t, nil, func(c net.Conn, _ *http.Request, n int) {
		switch {
		case n == 1:
			answer(c, "x")
		case last.Load() == 1:
			_, _ = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n\r\n")
			c.Close()
		default:
			c.Close()
		}
	})
	for begun := range int64(2) {
		last.Store(begun)
		c := a.client(t, Options{})
		get(t, c)
		req, _ := http.NewRequest("GET", "http://a/", nil)
		caller := new(timed)
		_, err := c.Do(req, caller, false)
		var facts *Error
		if !errors.As(err, &facts) || !facts.Connected || !facts.Reused || !facts.Sent || facts.Begun != (begun == 1) || len(caller.statuses) != int(begun) {
			t.Errorf("got %+v, %v", facts, caller.statuses)
		}
	}
	a.l.Close()
	req, _ := http.NewRequest("GET", "http://a/", nil)
	_, err := a.client(t, Options{}).Do(req, new(timed), false)
	if facts := new(Error); !errors.As(err, &facts) || facts.Connected || facts.Sent {
		t.Errorf("got %+v", err)
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	a := startApp(t, nil, func(c net.Conn, r *http.Request, _ int) {
		body, err := io.ReadAll(r.Body)
		answer(c, fmt.Sprint(len(body), " ", r.ContentLength, " ", r.Trailer.Get("X-Sum"), " ", err))
	})
	c := a.client(t, Options{})
	for _, n := range []int{0, 1, 1000, 15 << 10, 16 << 10, 40 << 10, 64 << 10, 1 << 20} {
		for _, known := range []bool{true, false} {
			req, _ := http.NewRequest("PUT", "http://a/", io.MultiReader(strings.NewReader(strings.Repeat("x", n))))
			req.ContentLength = -1
			want := fmt.Sprint(n, " ", -1, " 1 <nil>")
			if known {
				req.ContentLength = int64(n)
				want = fmt.Sprint(n, " ", n, "  <nil>")
			} else {
				req.Trailer = http.Header{"X-Sum": {"1"}}
			}
			res, err := c.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := io.ReadAll(res.Body); string(got) != want {
				t.Errorf("%d bytes: got %q, want %q", n, got, want)
			}
		}
	}
	if n := a.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// slowBody brings a first piece and then nothing, until it is closed.
type slowBody struct {
	first  string
	closed chan struct{}
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.first != "" {
		n := copy(p, b.first)
		b.first = b.first[n:]
		return n, nil
	}
	<-b.closed
	return 0, http.ErrBodyReadAfterClose
}

func (b *slowBody) Close() error {
	select {
	case <-b.closed:
	default:
		close(b.closed)
	}
	return nil
}

func TestServerMayAnswerBeforeTheBodyHasEnded(t *testing.T) {
	t.Parallel()
	a := startApp(t, nil, func(c net.Conn, r *http.Request, _ int) {
		_, _ = io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
		_, _ = io.Copy(io.Discard, r.Body)
	})
	for _, length := range []int64{2000, 1 << 20, -1} {
		c := a.client(t, Options{})
		req, _ := http.NewRequest("POST", "http://a/", nil)
		req.Body, req.ContentLength = &slowBody{"first", make(chan struct{})}, length
		res, err := c.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); res.StatusCode != 413 || string(body) != "big" || err != nil {
			t.Errorf("got %d %q, %v", res.StatusCode, body, err)
		}
		if len(c.idle) > 0 {
			t.Error("the connection is kept, on which a body has not ended")
		}
	}
}

func TestSwitchingProtocols(t *testing.T) {
	t.Parallel()
	a := startApp(t, nil, func(c net.Conn, r *http.Request, _ int) {
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nahead")
		if r.Header.Get("Upgrade") != "" {
			_, _ = io.Copy(c, c)
		}
	})
	c := a.client(t, Options{})
	if got := get(t, c); !strings.Contains(got, "without being asked") {
		t.Errorf("got %q", got)
	}
	req, _ := http.NewRequest("GET", "http://a/", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	res, err := c.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	conn := res.Body.(io.ReadWriteCloser)
	defer conn.Close()
	_, _ = io.WriteString(conn, "-echo")
	got := make([]byte, len("ahead-echo"))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "ahead-echo" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestHTTP2IsHandedOver(t *testing.T) {
	t.Parallel()
	server, client := certificates(t)
	server.NextProtos = []string{"h2", "http/1.1"}
	client.NextProtos = []string{"h2", "http/1.1"}
	a := startApp(t, server, func(c net.Conn, _ *http.Request, _ int) { answer(c, "x") })
	c := a.client(t, Options{TLS: client})
	req, _ := http.NewRequest("GET", "http://a/", nil)
	_, err := c.RoundTrip(req)
	var h2 *HTTP2Error
	if !errors.As(err, &h2) {
		t.Fatalf("got %v", err)
	}
	h2.Conn.Close()
}

func TestMalformedResponseIsTold(t *testing.T) {
	t.Parallel()
	a := startApp(t, nil, func(c net.Conn, _ *http.Request, _ int) { _, _ = io.WriteString(c, "HTTP/1.1  200 OK\r\n\r\n") })
	req, _ := http.NewRequest("GET", "http://a/", nil)
	_, err := a.client(t, Options{}).RoundTrip(req)
	var malformed *http1.Error
	if !errors.As(err, &malformed) {
		t.Errorf("got %v", err)
	}
}

// On a busy machine the first deadline, which is there for the watch, may have passed before the request is written.
func TestRequestIsWrittenAfterTheWatchHasBegun(t *testing.T) {
	t.Parallel()
	a := startApp(t, nil, func(c net.Conn, _ *http.Request, n int) { answer(c, fmt.Sprint(n)) })
	c := a.client(t, Options{})
	c.patience = -time.Second
	for i := 1; i <= 3; i++ {
		if got := get(t, c); got != fmt.Sprint(i) {
			t.Fatalf("got %q", got)
		}
	}
}

// A request that is longer than what the socket takes at once.
func TestLongHead(t *testing.T) {
	t.Parallel()
	a := startApp(t, nil, func(c net.Conn, r *http.Request, _ int) { answer(c, fmt.Sprint(len(r.Header.Get("X")))) })
	c := a.client(t, Options{})
	for range 3 {
		req, _ := http.NewRequest("GET", "http://a/", nil)
		req.Header.Set("X", strings.Repeat("x", 900_000))
		res, err := c.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(res.Body); string(body) != "900000" {
			t.Errorf("got %d %q", res.StatusCode, body)
		}
	}
}
