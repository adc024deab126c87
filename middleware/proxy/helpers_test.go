package proxy_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/clientip"
	"github.com/headgate/headgate/middleware/proxy"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// newUpstream makes an upstream that the test closes. It makes no retries unless the test says how many.
func newUpstream(t testing.TB, cfg proxy.Config, o proxy.Options) *proxy.Upstream {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet()
	}
	if cfg.Retries == 0 {
		cfg.Retries = -1
	}
	o.Name, o.Config = "shop", signed(cfg)
	u, err := proxy.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

// signed gives balance: cookie a secret, where the test has none.
func signed(cfg proxy.Config) proxy.Config {
	if cfg.Balance == proxy.Cookie && cfg.Cookie.Secrets == nil {
		cfg.Cookie.Secrets = [][]byte{secret(1)}
	}
	return cfg
}

// syncBuffer collects logs.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *syncBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// servers turns URLs into a configuration's servers.
func servers(urls ...string) []proxy.Server {
	var all []proxy.Server
	for _, u := range urls {
		all = append(all, proxy.Server{URL: u})
	}
	return all
}

// origin starts an app server.
func origin(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// named starts an app server that answers with its name.
func named(t testing.TB, name string) *httptest.Server {
	t.Helper()
	return origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, name) })
}

// front starts an HTTP server with a handler, as the gateway would.
func front(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// gateway starts a gateway before the servers of a configuration.
func gateway(t testing.TB, cfg proxy.Config, opts proxy.RouteOptions) *httptest.Server {
	t.Helper()
	return front(t, newUpstream(t, cfg, proxy.Options{}).Handler(opts))
}

// from says who is asking, as the client IP middleware does.
func from(client string, h http.Handler) http.Handler {
	addr := netip.MustParseAddr(client)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(clientip.NewContext(r.Context(), clientip.Info{Addr: addr, Bucket: addr})))
	})
}

// answer is what a client saw.
type answer struct {
	status int
	body   string
	header http.Header
	err    error
}

// do sends a request with a client of its own connection pool.
func do(t testing.TB, req *http.Request) answer {
	t.Helper()
	c := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       time.Minute,
	}
	res, err := c.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{status: res.StatusCode, body: string(body), header: res.Header, err: err}
}

func get(t testing.TB, url string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, req)
}

// eventually polls until the condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
