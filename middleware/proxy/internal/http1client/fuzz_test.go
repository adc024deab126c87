package http1client

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// Whatever a server sends to one request, it never becomes the response to the next one; and what is taken for a response, net/http takes for the same.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhel",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nx",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\nhel",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nuntil the end",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, sent []byte, head bool) {
		if len(sent) > 4<<10 {
			t.Skip() // one read takes all: a pipe can't be looked at, as a socket is
		}
		method := http.MethodGet
		if head {
			method = http.MethodHead
		}
		near, far := net.Pipe()
		c := New(Options{Address: "127.0.0.1:0", MaxIdle: 1, ConnectTimeout: time.Second})
		defer c.CloseIdleConnections()
		c.put(newConn(c, near, nil))
		go func() { // the server: what the fuzzer says, and then its own
			defer far.Close()
			br := bufio.NewReader(far)
			if _, err := http.ReadRequest(br); err != nil {
				return
			}
			if _, err := far.Write(sent); err != nil {
				return
			}
			if _, err := http.ReadRequest(br); err != nil {
				return
			}
			_, _ = io.WriteString(far, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown")
		}()
		caller := &timed{deadline: time.Now().Add(20 * time.Millisecond), silence: 20 * time.Millisecond}
		req, _ := http.NewRequest(method, "http://a/", nil)
		if res, err := c.Do(req, caller, false); err == nil && res.StatusCode != http.StatusSwitchingProtocols {
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err == nil {
				compare(t, sent, req, res, body)
			}
		}
		if len(c.idle) == 0 {
			near.Close()
			return
		}
		again, _ := http.NewRequest(http.MethodGet, "http://a/", nil)
		res, err := c.Do(again, &timed{deadline: time.Now().Add(time.Second), silence: time.Second}, false)
		if err != nil {
			t.Skip() // the machine is busy
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || string(body) != "own" {
			t.Errorf("the next request got %q, %v", body, err)
		}
	})
}

// compare holds a response against net/http's reading of it.
func compare(t *testing.T, sent []byte, req *http.Request, res *http.Response, body []byte) {
	br := bufio.NewReader(bytes.NewReader(sent))
	want, err := http.ReadResponse(br, req)
	for err == nil && want.StatusCode < 200 && want.StatusCode != http.StatusSwitchingProtocols {
		want, err = http.ReadResponse(br, req)
	}
	if err != nil {
		t.Fatalf("net/http refuses it: %v", err)
	}
	wanted, err := io.ReadAll(want.Body)
	if err != nil {
		t.Fatalf("net/http refuses the body: %v", err)
	}
	if want.StatusCode != res.StatusCode || !bytes.Equal(wanted, body) || len(want.Header) != len(res.Header) {
		t.Errorf("got %d %q %v, net/http %d %q %v", res.StatusCode, body, res.Header, want.StatusCode, wanted, want.Header)
	}
}

// FuzzRecords follows TLS records in any pieces.
func FuzzRecords(f *testing.F) {
	f.Add([]byte{22, 3, 1, 0, 2, 1, 2, 23, 3, 3, 0, 0}, uint8(1))
	f.Fuzz(func(t *testing.T, p []byte, step uint8) {
		var r Records
		for rest := p; len(rest) > 0; {
			n := min(len(rest), int(step)+1)
			r.follow(rest[:n])
			rest = rest[n:]
		}
		whole := p
		for len(whole) >= 5 && len(whole) >= 5+int(whole[3])<<8+int(whole[4]) {
			whole = whole[5+int(whole[3])<<8+int(whole[4]):]
		}
		if r.atBoundary() != (len(whole) == 0) {
			t.Errorf("%x: %d bytes are left, and it says %t", p, len(whole), r.atBoundary())
		}
	})
}
