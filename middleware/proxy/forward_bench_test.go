package proxy_test

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/headgate/headgate/middleware/proxy"
)

// cannedApp answers each request on a connection with the same bytes, without a Go server's own cost.
func cannedApp(b *testing.B, body int) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	answer := slices.Concat([]byte("HTTP/1.1 200 OK\r\nServer: app\r\nDate: Fri, 27 Nov 2026 22:00:00 GMT\r\nContent-Type: text/plain\r\n"+
		"Content-Length: 1024\r\nLast-Modified: Fri, 27 Nov 2026 22:00:00 GMT\r\nETag: \"1\"\r\n\r\n"), bytes.Repeat([]byte("x"), 1024))
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReaderSize(c, 32<<10)
				for {
					for line := []byte(nil); string(line) != "\r\n"; {
						if line, err = r.ReadSlice('\n'); err != nil {
							return
						}
					}
					if _, err := r.Discard(body); err != nil {
						return
					}
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// unwritten is a response that goes nowhere.
type unwritten struct{ header http.Header }

func (w *unwritten) Header() http.Header         { return w.header }
func (w *unwritten) Write(p []byte) (int, error) { return len(p), nil }
func (w *unwritten) WriteHeader(int)             {}

// BenchmarkForward is what the proxy alone costs, with the system calls of the app server's side.
func BenchmarkForward(b *testing.B) {
	for name, body := range map[string]int{"GET": 0, "POST": 10 << 10} {
		b.Run(name, func(b *testing.B) {
			u, err := proxy.New(proxy.Options{Name: "app", Logger: slog.New(slog.DiscardHandler), Config: proxy.Config{Servers: servers(cannedApp(b, body))}})
			if err != nil {
				b.Fatal(err)
			}
			defer u.Close()
			h := u.Handler(proxy.RouteOptions{RewriteHost: true})
			r := httptest.NewRequest(name, "http://shop/a", nil)
			r.Header = http.Header{"User-Agent": {"bench"}, "Accept": {"*/*"}, "X-Request-Id": {"0123456789abcdef"}}
			sent := bytes.Repeat([]byte("y"), body)
			b.ReportAllocs()
			for b.Loop() {
				if body > 0 {
					r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(sent)), int64(body)
				}
				if err := h.Forward(&unwritten{http.Header{}}, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
