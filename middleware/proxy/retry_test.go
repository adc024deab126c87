package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/proxy"
)

// send sends a request with a body and an Idempotency-Key; "" is none.
func send(t testing.TB, method, url, body, key string) answer {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	return do(t, req)
}

// echoServer answers with the request's body.
func echoServer(t testing.TB) string {
	return origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }).URL
}

const tryTimeout = time.Second // long enough for a server that answers at once, however busy the machine is

func retryTimeouts(more ...proxy.RetryOn) proxy.Retry {
	return proxy.Retry{On: append([]proxy.RetryOn{proxy.RetryConnect, proxy.RetryTimeout}, more...), TryTimeout: tryTimeout}
}

func TestTryThatTakesTooLongIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, method string
		second       func(testing.TB, *atomic.Int64) string
		retry        proxy.Retry
		timeout      time.Duration
		status       int
		tries        int64 // that no server answered
	}{
		{name: "GET", method: "GET", status: 200, tries: 1},
		{name: "PUT with its body", method: "PUT", status: 200, tries: 1},
		{name: "POST is not repeated", method: "POST", status: 504, tries: 1},
		{name: "the last try", method: "GET", second: hanging, status: 504, tries: 2},
		{name: "no bound on all tries", method: "GET", timeout: -1, status: 200, tries: 1},
		{name: "time-outs are not retried by default", method: "GET", retry: proxy.Retry{On: []proxy.RetryOn{proxy.RetryConnect}}, timeout: tryTimeout, status: 504, tries: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var hits atomic.Int64
			second := echoServer(t)
			if tc.second != nil {
				second = tc.second(t, &hits)
			}
			if tc.retry.On == nil {
				tc.retry = retryTimeouts()
			}
			u := newUpstream(t, proxy.Config{Servers: servers(hanging(t, &hits), second), Retries: 1, Retry: tc.retry, Timeout: tc.timeout,
				Ejection: proxy.Ejection{Failures: 1}}, proxy.Options{})
			got := send(t, tc.method, front(t, u.Handler(proxy.RouteOptions{})).URL, "hello", "")
			if got.status != tc.status || hits.Load() != tc.tries || got.status == 200 && got.body != "hello" {
				t.Errorf("got %d %q %v, %d tries", got.status, got.body, got.err, hits.Load())
			}
			if s := u.Status()[0]; s.Ejections != 0 || s.Requests != 1 || s.Failures != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestTryTimeoutHoldsOverHTTP2(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	slow := h2cOrigin(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	defer close(release)
	fast := h2cOrigin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "fast") })
	gw := gateway(t, proxy.Config{Servers: servers(slow, fast), Protocol: proxy.H2C, Retries: 1, Retry: retryTimeouts()}, proxy.RouteOptions{})
	if got := get(t, gw.URL); got.status != 200 || got.body != "fast" {
		t.Errorf("got %d %q", got.status, got.body)
	}
}

func TestRequestWithAnIdempotencyKeyIsRetriedWhereThatIsAskedFor(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	broken := resetting(t, &hits)
	for _, tc := range []struct {
		name, method string
		keys         []string
		asked        bool
		status       int
	}{
		{"POST", "POST", []string{`"8e03978e-40d5-43e8-bc93-6894a57f9324"`}, true, 200},
		{"PATCH", "PATCH", []string{"k1"}, true, 200},
		{"no key", "POST", nil, true, 502},
		{"an empty key", "POST", []string{""}, true, 502},
		{"two keys", "POST", []string{"k1", "k2"}, true, 502},
		{"not asked for", "POST", []string{"k1"}, false, 502},
		{"another method", "LOCK", []string{"k1"}, true, 502},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			gw := gateway(t, proxy.Config{Servers: servers(broken, echoServer(t)), Retries: 1,
				Retry: proxy.Retry{IdempotencyKey: tc.asked}}, proxy.RouteOptions{})
			req, _ := http.NewRequest(tc.method, gw.URL, strings.NewReader("hello"))
			req.Header["Idempotency-Key"] = tc.keys
			if got := do(t, req); got.status != tc.status || got.status == 200 && got.body != "hello" {
				t.Errorf("got %d %q", got.status, got.body)
			}
		})
	}
}

// statusServer answers with a status, and says whose answer it is.
func statusServer(t testing.TB, status int, name string) string {
	return origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, name)
	}).URL
}

func TestStatusesThatAreRetried(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, method  string
		first, second int
		status        int
		body          string
		ejections     int64
	}{
		{"a failure", "GET", 503, 200, 200, "second", 1},
		{"too many requests", "GET", 429, 200, 200, "second", 0},
		{"500 is no failure of the server", "GET", 500, 200, 200, "second", 0},
		{"the last answer is the app's own", "GET", 503, 500, 500, "second", 1},
		{"not in the list", "GET", 502, 200, 502, "first", 1},
		{"POST", "POST", 503, 200, 503, "first", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var seen []string
			u := newUpstream(t, proxy.Config{
				Servers: servers(statusServer(t, tc.first, "first"), statusServer(t, tc.second, "second")), Retries: 1,
				Retry: proxy.Retry{On: []proxy.RetryOn{429, 500, 503}}, Ejection: proxy.Ejection{Failures: 1},
			}, proxy.Options{Observer: func(a proxy.Attempt) {
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, fmt.Sprint(a.Status))
			}})
			gw := front(t, u.Handler(proxy.RouteOptions{}))
			got := send(t, tc.method, gw.URL, "", "")
			if got.status != tc.status || got.body != tc.body || got.header.Get("Retry-After") != "120" {
				t.Errorf("got %d %q %v", got.status, got.body, got.header)
			}
			gw.Close()
			want := []string{fmt.Sprint(tc.first)}
			if tc.body == "second" {
				want = append(want, fmt.Sprint(tc.second))
			}
			if mu.Lock(); fmt.Sprint(seen) != fmt.Sprint(want) {
				t.Errorf("observed %v, want %v", seen, want)
			}
			mu.Unlock()
			if s := u.Status()[0]; s.Ejections != tc.ejections {
				t.Errorf("%+v", s)
			}
		})
	}
}

// What on does not name is not retried; without a connection nothing was sent, which changes nothing about that.
func TestConnectMayBeLeftOut(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	for name, first := range map[string]string{"no connection": deadServer(t), "a connection that breaks": resetting(t, &hits)} {
		gw := gateway(t, proxy.Config{Servers: servers(first, named(t, "b").URL), Retries: 1, Retry: proxy.Retry{On: []proxy.RetryOn{503}}}, proxy.RouteOptions{})
		if got := get(t, gw.URL); got.status != http.StatusBadGateway {
			t.Errorf("%s: got %d", name, got.status)
		}
	}
}

func TestRetryMistakes(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]proxy.Config{
		"nothing is retried with retries: 0":       {Retries: -1, Retry: proxy.Retry{On: []proxy.RetryOn{503}}},
		"nothing is retried with retry_budget: 0":  {RetryBudget: -1, Retry: proxy.Retry{IdempotencyKey: true}},
		"404 is not retried":                       {Retry: proxy.Retry{On: []proxy.RetryOn{404}}},
		"503 stands twice":                         {Retry: proxy.Retry{On: []proxy.RetryOn{503, 503}}},
		"there is no time left for another try":    {Retry: proxy.Retry{On: []proxy.RetryOn{proxy.RetryTimeout}}},
		"would not be followed by another":         {Retry: proxy.Retry{TryTimeout: time.Second}},
		"a try may take 1s, and all together 1s":   {Timeout: time.Second, Retry: retryTimeouts()},
		"try_timeout\" can't be zero; write one a": {Retry: proxy.Retry{TryTimeout: -1}},
	} {
		cfg.Servers = servers("http://127.0.0.1:9")
		if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
