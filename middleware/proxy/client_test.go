package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/proxy"
)

// What clients do that the gateway has to cope with.

// HTTP/2 has no form for a request without a host. That is the client's mistake, not the server's.
func TestRequestWithoutAHostToAnHTTP2ServerIs400(t *testing.T) {
	t.Parallel()
	kinds := make(chan proxy.Kind, 1)
	u := newUpstream(t, proxy.Config{Servers: servers(eitherOrigin(t, func(http.ResponseWriter, *http.Request) {})), Protocol: proxy.H2C},
		proxy.Options{Observer: func(a proxy.Attempt) { kinds <- a.Kind }})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	if res := raw(t, gw, "GET / HTTP/1.0\r\n\r\n"); res.StatusCode != http.StatusBadRequest {
		t.Errorf("got %d", res.StatusCode)
	}
	if kind := <-kinds; kind != proxy.KindBadRequest {
		t.Errorf("counted as %q", kind)
	}
	if s := u.Status()[0]; s.Failures != 0 {
		t.Errorf("%d failures of the server", s.Failures)
	}
}

func TestAnswerBeforeTheEndOfAnUpload(t *testing.T) {
	t.Parallel()
	early := tcpServer(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
		_, _ = io.Copy(io.Discard, c)
	})
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, tc := range []struct {
		name   string
		server string
		head   string
		body   string
		more   string // sent when the response has come
		want   int
	}{
		{name: "little is left", server: early, head: "Content-Length: 20000", body: strings.Repeat("x", 1000), want: 413},
		{name: "much is left", server: early, head: "Content-Length: 1000000", body: strings.Repeat("x", 1000), want: 413},
		{name: "chunked", server: early, head: "Transfer-Encoding: chunked", body: "3e8\r\n" + strings.Repeat("x", 1000) + "\r\n", want: 413},
		{name: "the rest looks like a request", server: early, head: "Content-Length: 20000", body: strings.Repeat("x", 1000), more: smuggled, want: 413},
		{name: "an error of ours", server: deadServer(t), head: "Content-Length: 20000", body: "x", more: smuggled, want: 502},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			u := newUpstream(t, proxy.Config{Servers: servers(tc.server)}, proxy.Options{})
			gw := front(t, u.Handler(proxy.RouteOptions{Unbuffered: true}))
			conn, err := net.Dial("tcp", gw.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "PUT / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n%s", tc.head, tc.body)
			_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
			br := bufio.NewReader(conn)
			res, err := http.ReadResponse(br, nil)
			if err != nil || res.StatusCode != tc.want {
				t.Fatal(res, err)
			}
			if _, err := io.ReadAll(res.Body); err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(conn, tc.more)
			// The client keeps its side open: it is for the gateway to end it.
			if rest, err := io.ReadAll(br); len(rest) > 0 || err != nil && strings.Contains(err.Error(), "timeout") {
				t.Errorf("got %q, %v", rest, err)
			}
			eventually(t, "the place is given back", func() bool { return u.Status()[0].Active == 0 })
			if n := u.Status()[0].Requests; n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func TestConnectionIsUsedAgainAfterAnUpload(t *testing.T) {
	t.Parallel()
	app := origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	gw := gateway(t, proxy.Config{Servers: servers(app.URL)}, proxy.RouteOptions{})
	conn, err := net.Dial("tcp", gw.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	br := bufio.NewReader(conn)
	for i, size := range []int{0, 1, 5000, 1 << 20, 3} {
		go fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size))
		res, err := http.ReadResponse(br, nil)
		if err != nil || res.StatusCode != http.StatusOK || res.Close {
			t.Fatalf("request %d: %+v, %v", i, res, err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
	}
}

func TestClientThatLeavesAStreamEndsItAtTheServer(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(ended)
	})
	kinds := make(chan proxy.Kind, 1)
	u := newUpstream(t, proxy.Config{Servers: servers(app.URL)}, proxy.Options{Observer: func(a proxy.Attempt) { kinds <- a.Kind }})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	ctx, cancel := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, "GET", gw.URL, nil)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if line, err := bufio.NewReader(res.Body).ReadString('\n'); line != "data: 1\n" {
		t.Fatalf("%q, %v", line, err)
	}
	cancel()
	<-ended
	if kind := <-kinds; kind != proxy.KindClientGone {
		t.Errorf("observed %q", kind)
	}
	if s := u.Status()[0]; s.Failures != 0 {
		t.Errorf("%+v", s)
	}
}

func TestDeadlineOfTheRequestItselfIs504(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	app := origin(t, func(w http.ResponseWriter, r *http.Request) { <-release })
	defer close(release)
	u := newUpstream(t, proxy.Config{Servers: servers(app.URL)}, proxy.Options{})
	h := u.Handler(proxy.RouteOptions{})
	gw := front(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 30*time.Millisecond)
		defer cancel()
		h.ServeHTTP(w, r.WithContext(ctx))
	}))
	if got := get(t, gw.URL); got.status != http.StatusGatewayTimeout {
		t.Errorf("got %d", got.status)
	}
	if s := u.Status()[0]; s.Failures != 0 {
		t.Errorf("the server is blamed: %+v", s)
	}
}

func TestInterimResponsesAreNotForHTTP10(t *testing.T) {
	t.Parallel()
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		if _, ok := r.Header["X-Forwarded-Host"]; ok {
			t.Error("a host that the client did not name")
		}
	})
	gw := gateway(t, proxy.Config{Servers: servers(app.URL)}, proxy.RouteOptions{})
	if res := raw(t, gw, "GET / HTTP/1.0\r\n\r\n"); res.StatusCode != http.StatusOK {
		t.Errorf("got %d", res.StatusCode)
	}
}

// Echo takes the first WriteHeader, that of a 103 too, for the only one.
func TestThroughEcho(t *testing.T) {
	t.Parallel()
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cut" {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "half")
			return
		}
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "short and stout")
	})
	u := newUpstream(t, proxy.Config{Servers: servers(app.URL, deadServer(t))}, proxy.Options{})
	h := u.Handler(proxy.RouteOptions{})
	e := echo.New()
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		if failure, ok := err.(*proxy.Error); ok {
			_ = c.String(failure.Status, string(failure.Kind))
		}
	}
	e.Any("/*", func(c echo.Context) error { return h.Forward(c.Response(), c.Request()) })
	gw := front(t, e)
	if got := get(t, gw.URL); got.status != http.StatusTeapot || got.body != "short and stout" {
		t.Errorf("%+v", got)
	}
	if got := get(t, gw.URL); got.status != http.StatusBadGateway || got.body != "connect" {
		t.Errorf("%+v", got)
	}
	if got := get(t, gw.URL+"/cut"); got.err == nil {
		t.Errorf("%+v", got)
	}
}

func TestStripConnection(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		in   http.Header
		want http.Header
	}{
		{"nothing to do", http.Header{"A": {"1"}}, http.Header{"A": {"1"}}},
		{"named fields go", http.Header{"Connection": {"close, Authorization", "x-foo"}, "Authorization": {"x"}, "X-Foo": {"1"}, "A": {"1"}}, http.Header{"A": {"1"}}},
		{"what names the client stays, and the proxies before", http.Header{"Connection": {"x-forwarded-for, FORWARDED, via"}, "X-Forwarded-For": {"1"}, "Forwarded": {"2"}, "Via": {"3"}},
			http.Header{"X-Forwarded-For": {"1"}, "Forwarded": {"2"}, "Via": {"3"}}},
		{"an upgrade stays", http.Header{"Connection": {"keep-alive, Upgrade, cookie"}, "Upgrade": {"websocket"}, "Cookie": {"a"}},
			http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}},
		{"an Upgrade that is not named goes", http.Header{"Connection": {"close"}, "Upgrade": {"h2c"}}, http.Header{}},
		{"TE stays for ReverseProxy to judge", http.Header{"Connection": {"TE"}, "Te": {"trailers"}}, http.Header{"Te": {"trailers"}}},
	} {
		proxy.StripConnection(tc.in)
		if fmt.Sprint(tc.in) != fmt.Sprint(tc.want) {
			t.Errorf("%s: got %v", tc.name, tc.in)
		}
	}
}
