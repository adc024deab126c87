package listener_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"

	"github.com/headgate/headgate/gateway/listener"
)

// BenchmarkRequest compares a request over a kept connection with net/http alone.
func BenchmarkRequest(b *testing.B) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header()["Content-Length"] = []string{"2"}
		_, _ = io.WriteString(w, "ok")
	})
	const head = "GET /api/products/42?page=7 HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0)\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
	requests := []struct{ name, text string }{
		{"GET", head + "\r\n"},
		{"1 MiB of length", head + "Content-Length: " + strconv.Itoa(1<<20) + "\r\n\r\n" + string(make([]byte, 1<<20))},
	}
	for _, server := range []string{"net/http", "listener"} {
		for _, request := range requests {
			b.Run(request.name+"/"+server, func(b *testing.B) {
				b.ReportAllocs()
				var addr string
				if server == "listener" {
					addr, _ = start(b, listener.Options{Handler: h})
				} else {
					l, err := net.Listen("tcp", "127.0.0.1:0")
					if err != nil {
						b.Fatal(err)
					}
					s := &http.Server{Handler: h}
					go s.Serve(l)
					b.Cleanup(func() { s.Close() })
					addr = l.Addr().String()
				}
				c, err := net.Dial("tcp", addr)
				if err != nil {
					b.Fatal(err)
				}
				defer c.Close()
				br := bufio.NewReader(c)
				text := []byte(request.text)
				for b.Loop() {
					if _, err := c.Write(text); err != nil {
						b.Fatal(err)
					}
					for line := []byte(nil); len(line) != 2; {
						if line, err = br.ReadSlice('\n'); err != nil {
							b.Fatal(err)
						}
					}
					if _, err := br.Discard(2); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
