//go:build linux

package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func paceTo(t *testing.T, addr string, every, length time.Duration) *pacer {
	t.Helper()
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return &pacer{
		addr:    unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()},
		request: []byte("GET / HTTP/1.1\r\nHost: app.example\r\n\r\n"),
		every:   every,
		length:  length,
	}
}

// A server that stops for 300 ms makes all requests late that are due
// meanwhile, also those that have no free connection to be sent on.
func TestOpenLoopCountsRequestsThatWaitForAConnection(t *testing.T) {
	var stall sync.Once
	resume := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		stall.Do(func() { time.AfterFunc(300*time.Millisecond, func() { close(resume) }) })
		<-resume
		_, _ = io.WriteString(w, "ok")
	}))
	defer app.Close()
	l := paceTo(t, app.Listener.Addr().String(), time.Millisecond, 500*time.Millisecond)
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	m := l.result()
	if len(l.latencies) != 500 || m.Failed != 0 {
		t.Errorf("%d latencies, %d failed; 500 requests were due", len(l.latencies), m.Failed)
	}
	late := 0
	for _, d := range l.latencies {
		if d > 100*time.Millisecond {
			late++
		}
	}
	if late <= openConns {
		t.Errorf("%d requests waited for more than 100 ms; about 200 were due in the stall's first 200 ms", late)
	}
}

// The server closes each connection after one answer; the loader goes on with
// others and counts every request.
func TestOpenLoopReplacesClosedConnections(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
				}
			}()
		}
	}()
	l := paceTo(t, listener.Addr().String(), time.Millisecond, 200*time.Millisecond)
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	m := l.result()
	if m.Answers+m.Failed != 200 || m.Answers <= openConns {
		t.Errorf("%d answers, %d failed; 200 requests were due", m.Answers, m.Failed)
	}
}

func TestContentLength(t *testing.T) {
	for head, want := range map[string]int{
		"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 1024": 1024,
		"HTTP/1.1 200 OK\r\ncontent-length:7":                  7,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked":        0,
		"HTTP/1.1 503 Unavailable\r\nContent-Length: 4":        0,
	} {
		if n, ok := contentLength([]byte(head)); ok != (want > 0) || ok && n != want {
			t.Errorf("%q: %d, %t; want %d", head, n, ok, want)
		}
	}
}
