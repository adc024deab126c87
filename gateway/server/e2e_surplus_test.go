package server_test

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
)

// bareApp is an app server that writes its answers itself, on connections that it keeps open.
func bareApp(t *testing.T, answer func(r *http.Request) string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				br := bufio.NewReader(c)
				for {
					r, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					_, _ = io.WriteString(c, answer(r))
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

const cachedRoute = `
upstreams: {shop: {servers: [%s]}}
caches: {all: {}}
routes: [{name: all, path: /*, upstream: shop, cache: all}]
`

// What an app sends behind an answer is neither given to another client nor stored for another URL.
func TestSurplusIsNeitherServedNorStored(t *testing.T) {
	t.Parallel()
	whole := func(body string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	attacks := map[string]string{
		"/attack/two":   whole("hel") + whole("SMUGGLED"),
		"/attack/304":   "HTTP/1.1 304 Not Modified\r\n\r\n" + whole("SMUGGLED"),
		"/attack/204":   "HTTP/1.1 204 No Content\r\n\r\n" + whole("SMUGGLED"),
		"/attack/empty": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + whole("SMUGGLED"),
	}
	g := start(t, fmt.Sprintf(cachedRoute, bareApp(t, func(r *http.Request) string {
		if text := attacks[r.URL.Path]; text != "" {
			return text
		}
		return whole(r.URL.Path)
	})))
	var over atomic.Bool
	var attackers, victims sync.WaitGroup
	for path := range attacks {
		attackers.Go(func() {
			for n := 0; !over.Load(); n++ {
				g.do("GET", fmt.Sprintf("%s?%d", path, n))
			}
		})
	}
	for client := range 3 {
		victims.Go(func() {
			for n := range 200 {
				path := fmt.Sprintf("/victim/%d/%d", client, n/2) // each twice: the second is a hit
				if a := g.do("GET", path); a.text != path {
					t.Errorf("%s got %q", path, a.text)
					return
				}
			}
		})
	}
	victims.Wait()
	over.Store(true)
	attackers.Wait()
}

// A trailer can't set a cookie, nor say how long an answer is stored: headers alone do, and those have been dealt with by then.
func TestTrailersSetNoCookies(t *testing.T) {
	t.Parallel()
	for name, announced := range map[string]string{"announced": "Trailer: Set-Cookie, Cache-Control, X-Sum\r\n", "not announced": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, fmt.Sprintf(cachedRoute, bareApp(t, func(*http.Request) string {
				return "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n" + announced +
					"\r\n3\r\nhel\r\n0\r\nSet-Cookie: a=1\r\nCache-Control: private\r\nX-Sum: 1\r\n\r\n"
			})))
			l := dialLine(t, g.Addr())
			defer l.Close()
			for range 2 { // from the app, and from the cache
				l.send("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
				r := l.read("GET", nil)
				if r.err != nil || r.body != "hel" || strings.Contains(r.text(r), "a=1") || strings.Contains(r.text(r), "private") {
					t.Errorf("%s", r.text(r))
				}
			}
		})
	}
}
