package proxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/clientip"
	"github.com/headgate/headgate/middleware/proxy"
)

// The benchmarks share one process with their origin and their client, so
// that figures are for comparing: everything but the middle is the same.

type benchPool struct{ sync.Pool }

func (p *benchPool) Get() []byte  { return *p.Pool.Get().(*[]byte) }
func (p *benchPool) Put(b []byte) { p.Pool.Put(&b) }

// bareReverseProxy is what an Echo user would write.
func bareReverseProxy(b *testing.B, target string) http.Handler {
	u, err := url.Parse(target)
	if err != nil {
		b.Fatal(err)
	}
	rp := &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(u)
			pr.Out.Host = pr.In.Host
			pr.SetXForwarded()
		},
		Transport:  &http.Transport{MaxIdleConnsPerHost: 512, DisableCompression: true, ResponseHeaderTimeout: 30 * time.Second},
		BufferPool: &benchPool{sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}},
	}
	e := echo.New()
	e.Any("/*", echo.WrapHandler(rp))
	return e
}

func upstreamInEcho(b *testing.B, target string) http.Handler {
	return upstreamSpeaking(b, target, proxy.Auto)
}

func upstreamOverHTTP2(b *testing.B, target string) http.Handler {
	return upstreamSpeaking(b, target, proxy.H2C)
}

func upstreamSpeaking(b *testing.B, target string, p proxy.Protocol) http.Handler {
	u := newUpstream(b, proxy.Config{Servers: servers(target), Retries: 1, Protocol: p}, proxy.Options{Observer: func(proxy.Attempt) {}})
	h := u.Handler(proxy.RouteOptions{
		ModifyResponse: func(*http.Response) error { return nil },
		Filter:         func(http.Header) {},
	})
	addr := netip.MustParseAddr("192.0.2.7")
	e := echo.New()
	e.Any("/*", func(c echo.Context) error {
		r := c.Request()
		return h.Forward(c.Response(), r.WithContext(clientip.NewContext(r.Context(), clientip.Info{Addr: addr, Bucket: addr})))
	})
	return e
}

func benchmarkThrough(b *testing.B, middle func(*testing.B, string) http.Handler) {
	kib := strings.Repeat("x", 1024)
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = []string{"text/plain"}
		_, _ = io.WriteString(w, kib)
	}))
	app.Config.Protocols = new(http.Protocols)
	app.Config.Protocols.SetHTTP1(true)
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Start()
	defer app.Close()
	gw := httptest.NewServer(middle(b, app.URL))
	defer gw.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	b.ReportAllocs()
	b.SetParallelism(16)
	b.ResetTimer()
	before := cpu()
	b.RunParallel(func(pb *testing.PB) {
		buf := make([]byte, 4096)
		for pb.Next() {
			res, err := client.Get(gw.URL)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.CopyBuffer(io.Discard, res.Body, buf)
			res.Body.Close()
		}
	})
	b.ReportMetric(float64(cpu()-before)/1e3/float64(b.N), "cpu-µs/op")
}

// cpu is the process's user and system time.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		os.Exit(1)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkBareReverseProxy(b *testing.B) { benchmarkThrough(b, bareReverseProxy) }

func BenchmarkUpstream(b *testing.B) { benchmarkThrough(b, upstreamInEcho) }

func BenchmarkUpstreamOverHTTP2(b *testing.B) { benchmarkThrough(b, upstreamOverHTTP2) }
