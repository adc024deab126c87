package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/proxy"
)

// waits counts what an upstream says of its line.
type waits struct{ waiting, joined, full, timeout atomic.Int64 }

func (w *waits) observe(step proxy.Wait) {
	w.waiting.Add(int64(step.Change))
	if step.Change > 0 {
		w.joined.Add(1)
	}
	switch step.Refused {
	case proxy.WaitFull:
		w.full.Add(1)
	case proxy.WaitTimeout:
		w.timeout.Add(1)
	}
}

// gated is an app server that keeps every request until the test lets one go.
type gated struct {
	*httptest.Server
	arrived chan string // the requests' paths
	letGo   chan struct{}
}

func newGated(t *testing.T) *gated {
	g := &gated{arrived: make(chan string, 1000), letGo: make(chan struct{}, 1000)}
	g.Server = origin(t, func(w http.ResponseWriter, r *http.Request) {
		g.arrived <- r.URL.Path
		<-g.letGo
		_, _ = io.WriteString(w, r.URL.Path)
	})
	t.Cleanup(func() { close(g.letGo) }) // before the server closes
	return g
}

// waitingGateway starts a gateway whose line is counted, and whose refusals are answered as the gateway does.
func waitingGateway(t *testing.T, cfg proxy.Config, opts proxy.RouteOptions) (*httptest.Server, *proxy.Upstream, *waits) {
	t.Helper()
	w := new(waits)
	u := newUpstream(t, cfg, proxy.Options{WaitObserver: w.observe})
	opts.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, e *proxy.Error) {
		w.Header().Set("Retry-After", strconv.FormatInt(e.RetryAfter(), 10))
		w.WriteHeader(e.Status)
		_, _ = io.WriteString(w, string(e.Kind))
	}
	return front(t, u.Handler(opts)), u, w
}

// background sends requests whose answers must have status 200.
type background struct{ wg sync.WaitGroup }

func (b *background) get(t *testing.T, url string) {
	b.wg.Go(func() {
		if got := get(t, url); got.status != 200 {
			t.Errorf("%s: %d %q, %v", url, got.status, got.body, got.err)
		}
	})
}

func refused(t *testing.T, got answer) {
	t.Helper()
	if got.status != 503 || got.header.Get("Retry-After") != "1" || got.body != string(proxy.KindOverloaded) {
		t.Errorf("got %d %q, Retry-After %q", got.status, got.body, got.header.Get("Retry-After"))
	}
}

func TestWaitingRequestsAreServedInOrder(t *testing.T) {
	t.Parallel()
	app := newGated(t)
	gw, _, line := waitingGateway(t, proxy.Config{Servers: servers(app.URL), MaxConnections: 1, Timeout: -1, Waiting: proxy.Waiting{Timeout: time.Hour}}, proxy.RouteOptions{})
	var clients background
	clients.get(t, gw.URL+"/0")
	<-app.arrived
	const n = 10
	for i := 1; i <= n; i++ {
		clients.get(t, fmt.Sprintf("%s/%d", gw.URL, i))
		eventually(t, "the request waits", func() bool { return line.waiting.Load() == int64(i) })
	}
	for i := 1; i <= n; i++ {
		app.letGo <- struct{}{}
		if path := <-app.arrived; path != fmt.Sprintf("/%d", i) {
			t.Errorf("%s came as number %d", path, i)
		}
	}
	app.letGo <- struct{}{}
	clients.wg.Wait()
	if line.waiting.Load() != 0 || line.joined.Load() != n || line.full.Load()+line.timeout.Load() != 0 {
		t.Errorf("%d wait, %d did, %d and %d were refused", line.waiting.Load(), line.joined.Load(), line.full.Load(), line.timeout.Load())
	}
}

func TestLineIsBounded(t *testing.T) {
	t.Parallel()
	app := newGated(t)
	gw, _, line := waitingGateway(t, proxy.Config{Servers: servers(app.URL), MaxConnections: 1, Timeout: -1, Waiting: proxy.Waiting{Requests: 2, Timeout: time.Hour}}, proxy.RouteOptions{})
	var clients background
	clients.get(t, gw.URL)
	<-app.arrived
	clients.get(t, gw.URL)
	clients.get(t, gw.URL)
	eventually(t, "two wait", func() bool { return line.waiting.Load() == 2 })
	refused(t, get(t, gw.URL))
	if line.full.Load() != 1 || line.joined.Load() != 2 {
		t.Errorf("%d refused, %d waited", line.full.Load(), line.joined.Load())
	}
	for range 3 {
		app.letGo <- struct{}{}
	}
	clients.wg.Wait()
}

// TestWaitIsBounded: by the line's own time, and by the route's for the response.
func TestWaitIsBounded(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ wait, route time.Duration }{
		"waiting.timeout": {50 * time.Millisecond, -1},
		"timeout":         {time.Hour, 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := newGated(t)
			gw, up, line := waitingGateway(t, proxy.Config{Servers: servers(app.URL), MaxConnections: 1, Waiting: proxy.Waiting{Timeout: tc.wait}}, proxy.RouteOptions{Timeout: tc.route})
			holder := front(t, up.Handler(proxy.RouteOptions{Timeout: -1}))
			var clients background
			clients.get(t, holder.URL)
			<-app.arrived
			refused(t, get(t, gw.URL))
			if line.timeout.Load() != 1 || line.waiting.Load() != 0 {
				t.Errorf("%d refused, %d wait", line.timeout.Load(), line.waiting.Load())
			}
			app.letGo <- struct{}{}
			clients.wg.Wait()
		})
	}
}

func TestClientThatDisconnectsLeavesTheLine(t *testing.T) {
	t.Parallel()
	app := newGated(t)
	gw, _, line := waitingGateway(t, proxy.Config{Servers: servers(app.URL), MaxConnections: 1, Timeout: -1, Waiting: proxy.Waiting{Requests: 2, Timeout: time.Hour}}, proxy.RouteOptions{})
	var clients background
	clients.get(t, gw.URL+"/first")
	<-app.arrived
	ctx, disconnect := context.WithCancel(context.Background())
	gone := make(chan answer, 1)
	go func() {
		req, _ := http.NewRequestWithContext(ctx, "GET", gw.URL+"/gone", nil)
		gone <- do(t, req)
	}()
	eventually(t, "it waits", func() bool { return line.waiting.Load() == 1 })
	clients.get(t, gw.URL+"/second")
	eventually(t, "another waits", func() bool { return line.waiting.Load() == 2 })
	disconnect()
	if got := <-gone; got.err == nil {
		t.Errorf("got %d", got.status)
	}
	eventually(t, "it has left", func() bool { return line.waiting.Load() == 1 })
	clients.get(t, gw.URL+"/third") // in the place that it had
	eventually(t, "the third waits", func() bool { return line.waiting.Load() == 2 })
	for _, want := range []string{"/second", "/third"} {
		app.letGo <- struct{}{}
		if path := <-app.arrived; path != want {
			t.Errorf("%s came, not %s", path, want)
		}
	}
	app.letGo <- struct{}{}
	clients.wg.Wait()
	if line.full.Load()+line.timeout.Load() != 0 {
		t.Error("the client's leaving is counted as a refusal")
	}
}

func TestPlaceOnAnyServerIsTaken(t *testing.T) {
	t.Parallel()
	a, b := newGated(t), newGated(t)
	gw, up, line := waitingGateway(t, proxy.Config{Servers: servers(a.URL, b.URL), MaxConnections: 1, Timeout: -1, Waiting: proxy.Waiting{Timeout: time.Hour}}, proxy.RouteOptions{})
	var clients background
	clients.get(t, gw.URL)
	clients.get(t, gw.URL)
	<-a.arrived
	<-b.arrived
	for i, path := range []string{"/1", "/2", "/3"} {
		clients.get(t, gw.URL+path)
		eventually(t, "it waits", func() bool { return line.waiting.Load() == int64(i+1) })
	}
	for i, app := range []*gated{b, a, b} {
		app.letGo <- struct{}{}
		if path, want := <-app.arrived, fmt.Sprintf("/%d", i+1); path != want {
			t.Errorf("%s came, not %s", path, want)
		}
	}
	a.letGo <- struct{}{}
	b.letGo <- struct{}{}
	clients.wg.Wait()
	for _, s := range up.Status() {
		if s.Active != 0 {
			t.Errorf("%s has %d in flight", s.URL, s.Active)
		}
	}
}

func TestUnboundedServersHaveNoLine(t *testing.T) {
	t.Parallel()
	app := newGated(t)
	gw, _, line := waitingGateway(t, proxy.Config{Servers: servers(app.URL), Timeout: -1, Waiting: proxy.Waiting{Requests: 1}}, proxy.RouteOptions{})
	var clients background
	for range 20 {
		clients.get(t, gw.URL)
	}
	for range 20 {
		<-app.arrived
	}
	for range 20 {
		app.letGo <- struct{}{}
	}
	clients.wg.Wait()
	if line.joined.Load()+line.full.Load() != 0 {
		t.Errorf("%d waited, %d were refused", line.joined.Load(), line.full.Load())
	}
}

// TestUpdateServesTheLine: by a server that is new, by a bound that is higher, and with 503 once the upstream is closed.
func TestUpdateServesTheLine(t *testing.T) {
	t.Parallel()
	old, added := newGated(t), newGated(t)
	cfg := proxy.Config{Servers: servers(old.URL), MaxConnections: 1, Timeout: -1, Waiting: proxy.Waiting{Timeout: time.Hour}}
	gw, up, line := waitingGateway(t, cfg, proxy.RouteOptions{})
	var clients background
	clients.get(t, gw.URL+"/0")
	<-old.arrived
	clients.get(t, gw.URL+"/1")
	eventually(t, "one waits", func() bool { return line.waiting.Load() == 1 })
	cfg.Servers = servers(old.URL, added.URL)
	if err := up.Update(cfg); err != nil {
		t.Fatal(err)
	}
	if path := <-added.arrived; path != "/1" {
		t.Errorf("%s came", path)
	}
	clients.get(t, gw.URL+"/2")
	eventually(t, "one waits again", func() bool { return line.waiting.Load() == 1 })
	cfg.Servers, cfg.MaxConnections = servers(added.URL), 2
	if err := up.Update(cfg); err != nil {
		t.Fatal(err)
	}
	if path := <-added.arrived; path != "/2" {
		t.Errorf("%s came", path)
	}
	last := make(chan answer, 1)
	go func() { last <- get(t, gw.URL) }()
	eventually(t, "the last waits", func() bool { return line.waiting.Load() == 1 })
	up.Close()
	if got := <-last; got.status != 503 || got.body != string(proxy.KindClosed) {
		t.Errorf("got %d %q", got.status, got.body)
	}
	old.letGo <- struct{}{}
	added.letGo <- struct{}{}
	added.letGo <- struct{}{}
	clients.wg.Wait()
}

func TestServerThatGetsHealthyServesTheLine(t *testing.T) {
	t.Parallel()
	var well atomic.Bool
	sick := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" && !well.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	full := newGated(t)
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			full.Config.Handler.ServeHTTP(w, r)
		}
	})
	gw, up, line := waitingGateway(t, proxy.Config{
		Servers: servers(app.URL, sick.URL), MaxConnections: 1, Timeout: -1, Waiting: proxy.Waiting{Timeout: time.Hour},
		HealthCheck: proxy.HealthCheck{Path: "/healthz", Interval: 20 * time.Millisecond, Timeout: 20 * time.Second, HealthyAfter: 1, UnhealthyAfter: 1},
	}, proxy.RouteOptions{})
	eventually(t, "the sick server is out", func() bool { return !up.Status()[1].Healthy })
	var clients background
	clients.get(t, gw.URL)
	<-full.arrived
	clients.get(t, gw.URL)
	eventually(t, "one waits", func() bool { return line.waiting.Load() == 1 })
	well.Store(true)
	eventually(t, "the server that is well again takes it", func() bool { return line.waiting.Load() == 0 })
	full.letGo <- struct{}{}
	clients.wg.Wait()
}

// TestNoPlaceIsLost: with clients that come and go all the time, every request that stays is answered.
func TestNoPlaceIsLost(t *testing.T) {
	t.Parallel()
	a, b := named(t, "a"), named(t, "b")
	u := newUpstream(t, proxy.Config{Servers: servers(a.URL, b.URL), MaxConnections: 2, Retries: 1, Timeout: -1,
		Waiting: proxy.Waiting{Requests: 1000, Timeout: time.Hour}}, proxy.Options{})
	h := u.Handler(proxy.RouteOptions{})
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			for j := range 25 {
				ctx, disconnect := context.WithCancel(context.Background())
				method := []string{"GET", "POST"}[i%2]
				if i%5 == 0 {
					go disconnect()
				}
				w := httptest.NewRecorder()
				err := h.Forward(w, httptest.NewRequestWithContext(ctx, method, fmt.Sprintf("http://shop/%d", j), nil))
				disconnect()
				if i%5 != 0 && (err != nil || w.Code != 200) {
					t.Errorf("%d, %v", w.Code, err)
				}
			}
		})
	}
	wg.Wait()
	for _, s := range u.Status() {
		if s.Active != 0 {
			t.Errorf("%s has %d in flight", s.URL, s.Active)
		}
	}
}

// TestEndOfAnEjectionServesTheLine: nothing else happens then that could.
func TestEndOfAnEjectionServesTheLine(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, method string
		boundLater   bool // by a reload
	}{
		{name: "trial", method: "GET"},
		{name: "any request is the trial", method: "POST"},
		{name: "max_connections came later", method: "GET", boundLater: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var well atomic.Bool
			failing := origin(t, func(w http.ResponseWriter, r *http.Request) {
				if !well.Swap(true) {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			})
			full := newGated(t)
			cfg := proxy.Config{
				Servers: servers(failing.URL, full.URL), MaxConnections: 1, Retries: 1, Timeout: -1, Waiting: proxy.Waiting{Timeout: time.Hour},
				Ejection: proxy.Ejection{Failures: 1, For: 500 * time.Millisecond},
			}
			first := cfg
			if tc.boundLater {
				first.MaxConnections = 0
			}
			gw, up, _ := waitingGateway(t, first, proxy.RouteOptions{})
			if got := get(t, gw.URL); got.status != 503 || up.Status()[0].Ejections != 1 {
				t.Fatalf("got %d, %d ejections", got.status, up.Status()[0].Ejections)
			}
			if err := up.Update(cfg); err != nil {
				t.Fatal(err)
			}
			var clients background
			clients.get(t, gw.URL)
			<-full.arrived
			req, _ := http.NewRequest(tc.method, gw.URL, nil)
			if got := do(t, req); got.status != 200 {
				t.Errorf("got %d, %v", got.status, got.err)
			}
			full.letGo <- struct{}{}
			clients.wg.Wait()
		})
	}
}
