package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/headgate/headgate/middleware/proxy"
)

// socketPath is a path that is short enough for a socket.
func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "headgate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "an app.sock")
}

func listenUnix(t testing.TB) (net.Listener, string) {
	t.Helper()
	path := socketPath(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, path
}

// unixOrigin starts an app server on a socket, which speaks HTTP/1.1 and h2c.
func unixOrigin(t testing.TB, h http.HandlerFunc) (path string) {
	t.Helper()
	l, path := listenUnix(t)
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = l
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return path
}

// noDNS fails the test when it is asked.
type noDNS struct{ t *testing.T }

func (d noDNS) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	d.t.Errorf("DNS was asked for %q", host)
	return nil, fmt.Errorf("no such host")
}

func TestUnixServers(t *testing.T) {
	t.Parallel()
	for _, protocol := range []proxy.Protocol{proxy.Auto, proxy.H2C} {
		for _, form := range []string{"unix:%s", "unix://%s", "UNIX:/.%s"} {
			t.Run(string(protocol)+" "+form, func(t *testing.T) {
				t.Parallel()
				var conns, checks atomic.Int64
				path := unixOrigin(t, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/healthz" {
						if checks.Add(1); r.Host != "localhost" {
							t.Errorf("a check asks for %q", r.Host)
						}
						return
					}
					conns.Add(1)
					body, _ := io.ReadAll(r.Body)
					fmt.Fprint(w, r.Proto, " ", r.Host, " ", r.RequestURI, " ", string(body))
				})
				attempts := make(chan proxy.Attempt, 100)
				u := newUpstream(t, proxy.Config{
					Servers: servers(fmt.Sprintf(form, path)), Protocol: protocol,
					HealthCheck: proxy.HealthCheck{Path: "/healthz", Interval: 10 * time.Millisecond, Timeout: 10 * time.Second},
				}, proxy.Options{DNS: noDNS{t}, Observer: func(a proxy.Attempt) { attempts <- a }})
				version := map[proxy.Protocol]string{proxy.Auto: "HTTP/1.1", proxy.H2C: "HTTP/2.0"}[protocol]
				for _, tc := range []struct {
					route proxy.RouteOptions
					host  string
				}{{proxy.RouteOptions{}, "shop.example"}, {proxy.RouteOptions{RewriteHost: true}, "localhost"}} {
					gw := front(t, u.Handler(tc.route))
					req, _ := http.NewRequest("POST", gw.URL+"/a?b=c", strings.NewReader("body"))
					req.Host = "shop.example"
					want := version + " " + tc.host + " /a?b=c body"
					if got := do(t, req); got.body != want {
						t.Errorf("got %d %q, want %q", got.status, got.body, want)
					}
					if a := <-attempts; a.Server != "unix:"+path || a.Kind != "" {
						t.Errorf("%+v", a)
					}
				}
				if s := u.Status()[0]; s.URL != "unix:"+path || s.Address != "" || !s.Healthy {
					t.Errorf("%+v", s)
				}
				eventually(t, "the server is checked", func() bool { return checks.Load() > 2 })
			})
		}
	}
}

func TestRequestsToASocketWithoutServerAreRetried(t *testing.T) {
	t.Parallel()
	live := unixOrigin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "live") })
	for _, protocol := range []proxy.Protocol{proxy.Auto, proxy.H2C} {
		gw := gateway(t, proxy.Config{Servers: servers("unix:"+socketPath(t), "unix:"+live), Retries: 1, Protocol: protocol}, proxy.RouteOptions{})
		for range 4 {
			if got := get(t, gw.URL); got.body != "live" {
				t.Errorf("%s: got %d %q", protocol, got.status, got.body)
			}
		}
	}
	if got := get(t, gateway(t, proxy.Config{Servers: servers("unix:" + socketPath(t))}, proxy.RouteOptions{}).URL); got.status != 502 {
		t.Errorf("got %d", got.status)
	}
}

func TestWebSocketToASocket(t *testing.T) {
	t.Parallel()
	path := unixOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		kind, msg, err := c.Read(context.Background())
		if err == nil {
			_ = c.Write(context.Background(), kind, msg)
		}
	})
	gw := gateway(t, proxy.Config{Servers: servers("unix:" + path)}, proxy.RouteOptions{})
	roundTrip(t, dialSocket(t, gw.URL), []byte("hello"))
}

func TestGRPCToASocket(t *testing.T) {
	t.Parallel()
	l, path := listenUnix(t)
	app := grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(app, rpc{})
	go func() { _ = app.Serve(l) }()
	t.Cleanup(app.Stop)
	u := newUpstream(t, proxy.Config{Servers: servers("unix:" + path), Protocol: proxy.H2C}, proxy.Options{})
	gw := h2cServer(t, u.Handler(proxy.RouteOptions{}))
	conn, err := grpc.NewClient(gw.Listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	res, err := grpc_testing.NewTestServiceClient(conn).UnaryCall(ctx, &grpc_testing.SimpleRequest{ResponseSize: 100_000})
	if err != nil || len(res.GetPayload().GetBody()) != 100_000 {
		t.Error(err)
	}
}

func TestUnixServersThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		cfg  proxy.Config
		want string
	}{
		{proxy.Config{Servers: servers("unix:app.sock")}, "absolute path"},
		{proxy.Config{Servers: servers("unix://run/app.sock")}, "absolute path"},
		{proxy.Config{Servers: servers("unix:")}, "absolute path"},
		{proxy.Config{Servers: servers("unix:/" + strings.Repeat("x", 107))}, "107"},
		{proxy.Config{Servers: servers("http://unix:/run/app.sock")}, "unix:/run/app.sock"},
		{proxy.Config{Servers: servers("https+unix:/run/app.sock")}, "not a server"},
		{proxy.Config{Servers: servers("unix:/run/app.sock", "unix:///run//app.sock")}, "twice"},
		{proxy.Config{Servers: servers("unix:/run/app.sock"), Protocol: proxy.HTTP2}, "TLS"},
	} {
		if err := tc.cfg.Check(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: got %v, want %q", tc.cfg.Servers, err, tc.want)
		}
	}
	if err := (proxy.Config{Servers: servers("unix:/"+strings.Repeat("x", 106), "unix:/run/app.sock?a=%20", "https://h")}).Check(); err != nil {
		t.Error(err)
	}
}

// With TCP the kernel waits where the server's queue is full. With sockets of the file system the gateway must.
func TestRequestsWaitForAPlaceInASocketsQueue(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the queue has another length elsewhere")
	}
	path := socketPath(t)
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	l, err := net.FileListener(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	var waiting []net.Conn
	for {
		c, err := net.Dial("unix", path)
		if err != nil {
			break // the queue is full
		}
		waiting = append(waiting, c)
	}
	u := newUpstream(t, proxy.Config{Servers: servers("unix:" + path), ConnectTimeout: time.Minute}, proxy.Options{})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	got := make(chan answer)
	go func() { got <- get(t, gw.URL) }()
	eventually(t, "the request is on its way", func() bool { return u.Status()[0].Active == 1 })
	for _, c := range waiting {
		c.Close()
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "at last") }))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	if got := <-got; got.body != "at last" {
		t.Errorf("%+v", got)
	}
}
