package listener_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"

	"github.com/headgate/headgate/gateway/listener"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// BenchmarkHTTP2 sends requests over one connection, so many at a time. The client does next to nothing.
func BenchmarkHTTP2(b *testing.B) {
	cert, key := keyPair(b, b.TempDir(), "a")
	body := make([]byte, 1<<10)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		h := w.Header()
		h["Content-Length"] = []string{"1024"}
		h["Content-Type"] = []string{"text/plain; charset=utf-8"}
		h["Cache-Control"] = []string{"max-age=60"}
		_, _ = w.Write(body)
	})
	for _, over := range []string{"plain", "TLS"} {
		for _, streams := range []int{1, 8, 64} {
			for _, upload := range []int{0, 10 << 10} {
				name := over + "/" + strconv.Itoa(streams) + " at a time"
				if upload > 0 {
					name += ", POST"
				}
				b.Run(name, func(b *testing.B) {
					b.ReportAllocs()
					o := listener.Options{HTTP1: true, H2C: true, Handler: handler}
					if over == "TLS" {
						o = listener.Options{HTTP1: true, HTTP2: true, CertFile: cert, KeyFile: key, Handler: handler}
					}
					addr, _ := start(b, o)
					var c net.Conn
					var err error
					if c, err = net.Dial("tcp", addr); err != nil {
						b.Fatal(err)
					}
					defer c.Close()
					if over == "TLS" {
						c = tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
					}
					benchHTTP2(b, c, streams, upload)
				})
			}
		}
	}
}

// benchHTTP2 sends batches of requests, and counts the answers' ends.
func benchHTTP2(b *testing.B, c net.Conn, streams, upload int) {
	out := bufio.NewWriterSize(c, 1<<20)
	framer := http2.NewFramer(out, nil)
	_, _ = out.WriteString(http2.ClientPreface)
	_ = framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	_ = framer.WriteWindowUpdate(0, 1<<30)
	var block bytes.Buffer
	fields := hpack.NewEncoder(&block)
	fields.SetMaxDynamicTableSize(0)
	for _, f := range [][2]string{
		{":method", "GET"}, {":scheme", "https"}, {":path", "/api/products/42?page=7"}, {":authority", "shop.example.com"},
		{"user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)"}, {"accept", "*/*"}, {"accept-language", "en"},
	} {
		_ = fields.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	in := bufio.NewReaderSize(c, 64<<10)
	next, received := uint32(1), 0
	for done := 0; done < b.N; done += streams {
		for range streams {
			_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: next, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: upload == 0})
			if upload > 0 {
				_ = framer.WriteData(next, true, make([]byte, upload))
			}
			next += 2
		}
		if err := out.Flush(); err != nil {
			b.Fatal(err)
		}
		for ended := 0; ended < streams; {
			var head [9]byte
			if _, err := io.ReadFull(in, head[:]); err != nil {
				b.Fatal(err)
			}
			n := int(binary.BigEndian.Uint32(head[:4]) >> 8)
			if _, err := in.Discard(n); err != nil {
				b.Fatal(err)
			}
			if t := http2.FrameType(head[3]); t == http2.FrameData {
				received += n
				if head[4]&1 != 0 {
					ended++
				}
			} else if t == http2.FrameGoAway || t == http2.FrameRSTStream {
				b.Fatal(t)
			}
		}
		if received > 1<<29 {
			received = 0
			_ = framer.WriteWindowUpdate(0, 1<<29)
		}
	}
}
