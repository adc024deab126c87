package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/headgate/headgate/middleware/proxy"
)

func TestTimeoutAloneIsNeitherRetriedNorHeldAgainstTheServer(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	kinds := make(chan proxy.Kind, 100)
	u := newUpstream(t, proxy.Config{Servers: servers(hanging(t, &hits), hanging(t, &hits)), Retries: 1, Timeout: 300 * time.Millisecond},
		proxy.Options{Observer: func(a proxy.Attempt) { kinds <- a.Kind }})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	const n = 12 // more than Ejection.Failures for each server
	for range n {
		if got := get(t, gw.URL); got.status != 504 {
			t.Errorf("got %d", got.status)
		}
		if kind := <-kinds; kind != proxy.KindTimeout {
			t.Errorf("observed %q", kind)
		}
	}
	if len(kinds) > 0 {
		t.Errorf("%d attempts for %d requests", n+len(kinds), n)
	}
	for _, s := range u.Status() {
		if !s.Healthy || s.Ejections > 0 || s.Failures != n/2 {
			t.Errorf("%+v", s)
		}
	}
}

// The first server takes most of the time and breaks; the second would answer in less than the timeout, but not in what is left of it.
func TestTimeoutIsOneDeadlineOverAllTries(t *testing.T) {
	t.Parallel()
	breaking := tcpServer(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		time.Sleep(600 * time.Millisecond)
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	late := tcpServer(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		time.Sleep(900 * time.Millisecond)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	gw := gateway(t, proxy.Config{Servers: servers(breaking, late), Retries: 1, Timeout: time.Second}, proxy.RouteOptions{})
	if got := get(t, gw.URL); got.status != 504 {
		t.Errorf("got %d", got.status)
	}
}

// http2Server runs an HTTP/2 server without TLS, of which the test writes the frames. on is called for each request's header.
func http2Server(t *testing.T, conns *atomic.Int64, on func(c net.Conn, fr *http2.Framer, stream uint32, conn int64) (handled bool)) string {
	return tcpServer(t, func(c net.Conn) {
		n := conns.Add(1)
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		fr := http2.NewFramer(c, c)
		_ = fr.WriteSettings()
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			switch f := f.(type) {
			case *http2.SettingsFrame:
				if !f.IsAck() {
					_ = fr.WriteSettingsAck()
				}
			case *http2.HeadersFrame:
				if !on(c, fr, f.StreamID, n) {
					// ":status: 200" of HPACK's static table, and no body.
					_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: f.StreamID, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: true})
				}
			}
		}
	})
}

func refuseStream(_ net.Conn, fr *http2.Framer, stream uint32, _ int64) bool {
	_ = fr.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
	return true
}

func goAway(_ net.Conn, fr *http2.Framer, _ uint32, _ int64) bool {
	_ = fr.WriteGoAway(0, http2.ErrCodeNo, nil)
	return true
}

func goAwayOnce(_ net.Conn, fr *http2.Framer, _ uint32, conn int64) bool {
	if conn > 1 {
		return false
	}
	_ = fr.WriteGoAway(0, http2.ErrCodeNo, nil)
	return true
}

func TestWhatHTTP2DidNotProcessGoesToAnotherServerAtOnce(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		first   func(net.Conn, *http2.Framer, uint32, int64) bool
		alone   bool
		method  string
		body    string
		retries int
		want    int
	}{
		{name: "POST, refused", first: refuseStream, method: "POST", body: "hello", want: 200},
		{name: "POST, goaway", first: goAway, method: "POST", body: "hello", want: 200},
		{name: "GET, refused", first: refuseStream, method: "GET", want: 200},
		{name: "GET, goaway", first: goAway, method: "GET", want: 200},
		{name: "a long POST, refused", first: refuseStream, method: "POST", body: strings.Repeat("x", proxy.MaxReplay), want: 200},
		{name: "goaway, one server", first: goAwayOnce, alone: true, method: "POST", body: "hello", want: 200},
		{name: "goaway for ever, one server", first: goAway, alone: true, method: "POST", body: "hello", want: 502},
		{name: "refused for ever, one server", first: refuseStream, alone: true, method: "GET", retries: 3, want: 502},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var conns atomic.Int64
			urls := []string{http2Server(t, &conns, tc.first)}
			if !tc.alone {
				urls = append(urls, h2cServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					if string(body) != tc.body {
						t.Errorf("the second server got %d bytes", len(body))
					}
				})).URL)
			}
			u := newUpstream(t, proxy.Config{Servers: servers(urls...), Protocol: proxy.H2C, Timeout: 20 * time.Second, Retries: tc.retries}, proxy.Options{})
			gw := front(t, u.Handler(proxy.RouteOptions{}))
			start := time.Now()
			req, _ := http.NewRequest(tc.method, gw.URL, strings.NewReader(tc.body))
			got := do(t, req)
			if got.status != tc.want {
				t.Errorf("got %d, %v", got.status, got.err)
			}
			if took := time.Since(start); took > 10*time.Second { // net/http would wait for seconds between its tries
				t.Errorf("it took %s", took)
			}
			if n := conns.Load(); n > 2 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

func TestAnswerThatBreaksOffBeforeAnyOfItWentOut(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		method  string
		length  int
		retries int
		second  string
		want    int // 0: the response is cut off
	}{
		{name: "GET", method: "GET", length: 1000, retries: 1, second: "whole", want: 200},
		{name: "64 KiB", method: "GET", length: 64 << 10, retries: 1, second: "whole", want: 200},
		{name: "no second server", method: "GET", length: 1000, retries: 1, second: "breaks", want: 502},
		{name: "longer", method: "GET", length: 64<<10 + 1, retries: 1, second: "whole"},
		{name: "POST", method: "POST", length: 1000, retries: 1, second: "whole"},
		{name: "without retries", method: "GET", length: 1000, second: "whole"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			breaks := tcpServer(t, func(c net.Conn) {
				_, _ = http.ReadRequest(bufio.NewReader(c))
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nhel", tc.length)
			})
			second := breaks
			if tc.second == "whole" {
				second = named(t, "whole").URL
			}
			list := servers(breaks, second)
			if second == breaks {
				list = list[:1]
			}
			kinds := make(chan proxy.Kind, 10)
			u := newUpstream(t, proxy.Config{Servers: list, Retries: tc.retries}, proxy.Options{Observer: func(a proxy.Attempt) { kinds <- a.Kind }})
			req, _ := http.NewRequest(tc.method, front(t, u.Handler(proxy.RouteOptions{})).URL, nil)
			got := do(t, req)
			if (got.err != nil) != (tc.want == 0) || got.err == nil && got.status != tc.want {
				t.Errorf("got %d %q, %v", got.status, got.body, got.err)
			}
			if kind := <-kinds; kind != proxy.KindTruncated {
				t.Errorf("observed %q", kind)
			}
		})
	}
}

// A server has nothing to do with a short body until it is there.
func TestShortBodyIsReadBeforeAServerIsChosen(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{}, 1)
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		_, _ = io.Copy(w, r.Body)
	})
	u := newUpstream(t, proxy.Config{Servers: servers(app.URL), Timeout: 10 * time.Second}, proxy.Options{})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	conn, err := net.Dial("tcp", gw.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
	if got := get(t, gw.URL); got.status != 200 { // another client's, meanwhile
		t.Errorf("got %d", got.status)
	}
	<-arrived
	if s := u.Status()[0]; s.Requests != 1 || len(arrived) > 0 {
		t.Errorf("the half request has been sent on: %+v", s)
	}
	_, _ = io.WriteString(conn, "world")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(res.Body); string(body) != "helloworld" {
		t.Errorf("got %q", body)
	}
}
