package http1_test

import (
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/http1"
)

func TestControlCharactersAreFoundAnywhere(t *testing.T) {
	t.Parallel()
	for size := range 20 {
		for at := range size {
			for c := range 256 {
				s := []byte(strings.Repeat("\xff ~", 7)[:size])
				s[at] = byte(c)
				if want := c >= ' ' && c != 0x7f || c == '\t'; http1.IsClean(string(s)) != want {
					t.Errorf("%q: %v", s, !want)
				}
			}
		}
	}
}

func BenchmarkHead(b *testing.B) {
	for name, text := range map[string]string{
		"9 lines": "GET /api/products/42?page=7 HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
			"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
			"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nConnection: keep-alive\r\nSec-Fetch-Site: same-origin\r\n\r\n",
		"1 line": "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			data := []byte(text)
			for b.Loop() {
				var s http1.HeadScanner
				n, err := s.Next(data, http1.Limits{Head: 64 << 10, Fields: 256})
				if err != nil || n != len(data) {
					b.Fatal(n, err)
				}
				var h http1.RequestHead
				if err := h.Parse(data, s.Fields()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
