package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/proxy"
)

// What an app server sends beyond a message must not become another client's response, however many connections there are.
func TestSurplusNeverReachesAnotherClient(t *testing.T) {
	t.Parallel()
	const victims = 500
	for _, tc := range malformedResponses {
		if tc.reused || tc.status == 502 || tc.status == 0 || strings.Contains(tc.send, "close") || strings.Contains(tc.send, "HTTP/1.0") {
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			app := tcpServer(t, func(c net.Conn) {
				br := bufio.NewReader(c)
				for {
					r, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					if r.URL.Path == "/victim" {
						_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nvictim")
						continue
					}
					_, _ = io.WriteString(c, tc.send)
				}
			})
			gw := gateway(t, proxy.Config{Servers: servers(app)}, proxy.RouteOptions{})
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 6}}
			defer client.CloseIdleConnections()
			ask := func(method, path string) string {
				req, _ := http.NewRequest(method, gw.URL+path, nil)
				res, err := client.Do(req)
				if err != nil {
					return err.Error()
				}
				defer res.Body.Close()
				body, err := io.ReadAll(res.Body)
				return fmt.Sprint(res.StatusCode, " ", string(body), err)
			}
			var attackers, asked sync.WaitGroup
			var over atomic.Bool
			for range 3 {
				attackers.Go(func() {
					for !over.Load() {
						ask(max(tc.method, "GET"), "/attack")
					}
				})
				asked.Go(func() {
					for range victims {
						if got := ask("GET", "/victim"); got != "200 victim<nil>" {
							t.Errorf("a victim got %q", got)
							return
						}
					}
				})
			}
			asked.Wait()
			over.Store(true)
			attackers.Wait()
		})
	}
}

// dropping is an app server whose unused connections can turn out dead: it takes a request on them and closes them without an answer.
type dropping struct {
	url      string
	requests atomic.Int64
	drop     atomic.Bool
	together sync.WaitGroup // those that are answered together
}

// startDropping starts one to which the gateway has n unused connections then.
func startDropping(t *testing.T, n int, more ...string) (*dropping, *proxy.Upstream, string) {
	d := new(dropping)
	d.together.Add(n)
	d.url = tcpServer(t, func(c net.Conn) {
		br := bufio.NewReader(c)
		for first := true; ; first = false {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			switch {
			case !d.drop.Load():
				d.together.Done()
				d.together.Wait() // so that each needs a connection of its own
			case !first:
				d.requests.Add(1)
				return
			default:
				d.requests.Add(1)
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	u := newUpstream(t, proxy.Config{Servers: servers(d.url), IdleTimeout: time.Minute}, proxy.Options{})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	var warm sync.WaitGroup
	for range n {
		warm.Go(func() {
			if got := get(t, gw.URL); got.body != "ok" {
				t.Errorf("%+v", got)
			}
		})
	}
	warm.Wait()
	d.drop.Store(true)
	return d, u, gw.URL
}

func TestRequestRunsOnceHoweverManyConnectionsAreDead(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		method  string
		retries int
		want    int
		runs    int64
	}{
		{"GET", -1, 502, 1},
		{"POST", -1, 502, 1},
		{"GET", 1, 200, 2}, // at the cost of a retry, over a connection of its own
		{"POST", 1, 502, 1},
	} {
		t.Run(fmt.Sprintf("%s, retries %d", tc.method, tc.retries), func(t *testing.T) {
			t.Parallel()
			d, u, gw := startDropping(t, 60)
			if err := u.Update(proxy.Config{Servers: servers(d.url), IdleTimeout: time.Minute, Retries: tc.retries}); err != nil {
				t.Fatal(err)
			}
			before := u.Status()[0].Requests
			req, _ := http.NewRequest(tc.method, gw, nil)
			if got := do(t, req); got.status != tc.want {
				t.Errorf("got %d, want %d", got.status, tc.want)
			}
			if n := d.requests.Load(); n != tc.runs {
				t.Errorf("the server was sent it %d times, want %d", n, tc.runs)
			}
			if n := u.Status()[0].Requests - before; n != tc.runs {
				t.Errorf("%d attempts were counted, want %d", n, tc.runs)
			}
		})
	}
}

// An app server that closes each connection behind its answer without saying so: the close is noticed before the next request.
func TestConnectionsThatTheServerHasClosedAreNotUsed(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{}, 1)
	app := tcpServer(t, func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		c.Close()
		closed <- struct{}{}
	})
	gw := gateway(t, proxy.Config{Servers: servers(app), IdleTimeout: time.Minute}, proxy.RouteOptions{})
	for i := range 100 {
		req, _ := http.NewRequest("POST", gw.URL, strings.NewReader("hello"))
		if got := do(t, req); got.status != 200 {
			t.Fatalf("request %d: %d, %v", i, got.status, got.err)
		}
		<-closed
	}
}

// An app server that ignores Expect, and waits for the body.
func TestExpectContinueDoesNotWaitForServersThatIgnoreIt(t *testing.T) {
	t.Parallel()
	app := tcpServer(t, func(c net.Conn) {
		br := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	})
	gw := gateway(t, proxy.Config{Servers: servers(app)}, proxy.RouteOptions{})
	start := time.Now()
	const n = 30
	for range n {
		res := raw(t, gw, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nhello")
		if res.StatusCode == 100 {
			continue
		}
		if res.StatusCode != 200 {
			t.Fatalf("got %d", res.StatusCode)
		}
	}
	if took := time.Since(start); took > n*time.Second/2 { // it was a second for each; it is 50 ms for the first
		t.Errorf("%d requests took %s", n, took)
	}
}

// A request without a host must not reach the app server with the app server's own address for it.
func TestRequestWithoutHost(t *testing.T) {
	t.Parallel()
	hosts := make(chan string, 1)
	app := tcpServer(t, func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		hosts <- fmt.Sprintf("%q", r.Host)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	gw := gateway(t, proxy.Config{Servers: servers(app)}, proxy.RouteOptions{})
	if res := raw(t, gw, "GET / HTTP/1.0\r\n\r\n"); res.StatusCode != 200 {
		t.Errorf("got %d", res.StatusCode)
	}
	if host := <-hosts; host != `""` {
		t.Errorf("the server was sent the host %s", host)
	}
}
