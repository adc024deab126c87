package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/headgate/headgate/middleware/proxy"
)

// unsteady answers in the place of an upstream's servers. Some answers are failures; it counts the requests in flight at each server.
type unsteady struct {
	failing atomic.Int64 // per cent of the requests

	mu       sync.Mutex
	inFlight map[string]int // by the server's host
	most     int            // in flight at one server at once
	served   map[string]int
}

func (s *unsteady) RoundTrip(r *http.Request) (*http.Response, error) {
	host := r.URL.Host
	s.mu.Lock()
	s.inFlight[host]++
	s.most = max(s.most, s.inFlight[host])
	s.mu.Unlock()
	for range rand.IntN(20) {
		runtime.Gosched()
	}
	body := &unsteadyBody{Reader: strings.NewReader("ok"), close: func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.inFlight[host]--
	}}
	status := 200
	if rand.Int64N(100) < s.failing.Load() {
		if rand.IntN(2) == 0 {
			_ = body.Close()
			return nil, errors.New("the connection broke")
		}
		status = 503
	} else {
		s.mu.Lock()
		s.served[host]++
		s.mu.Unlock()
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: body, ContentLength: 2, Request: r, ProtoMajor: 1, ProtoMinor: 1}, nil
}

type unsteadyBody struct {
	io.Reader
	once  sync.Once
	close func()
}

func (b *unsteadyBody) Close() error {
	b.once.Do(b.close)
	return nil
}

// TestLineKeepsItsPromises: whatever clients, servers and reloads do at the same time, every request that stays is answered, no server has more
// than max_connections in flight, and afterwards every place is free.
func TestLineKeepsItsPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(rt, "servers")
		places := rapid.IntRange(1, 3).Draw(rt, "max_connections")
		removes := rapid.Bool().Draw(rt, "reloads remove servers")
		var urls []string
		for i := range n {
			urls = append(urls, fmt.Sprintf("http://10.0.0.%d", i+1))
		}
		cfg := signed(proxy.Config{Servers: servers(urls...), MaxConnections: places, Retries: rapid.IntRange(0, 2).Draw(rt, "retries"), Timeout: -1,
			Balance:  proxy.Balance(rapid.SampledFrom(proxy.Balance("").Values()).Draw(rt, "balance")),
			Waiting:  proxy.Waiting{Requests: 1000, Timeout: time.Hour},
			Ejection: proxy.Ejection{Failures: rapid.IntRange(1, 3).Draw(rt, "failures"), For: time.Duration(rapid.IntRange(1, 2000).Draw(rt, "for")) * time.Microsecond}})
		apps := &unsteady{inFlight: map[string]int{}, served: map[string]int{}}
		apps.failing.Store(int64(rapid.SampledFrom([]int{0, 5, 50}).Draw(rt, "failing")))
		line := new(waits)
		u := newUpstream(t, cfg, proxy.Options{WaitObserver: line.observe, Transport: func(string) http.RoundTripper { return apps }})
		h := u.Handler(proxy.RouteOptions{})

		var clients, reloads sync.WaitGroup
		done := make(chan struct{})
		reloads.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				reloaded := cfg
				reloaded.Servers = servers(urls...)
				if gone := i % n; i%2 == 0 && n > 1 {
					reloaded.Servers[gone].Weight = -1
					if removes {
						reloaded.Servers = append(reloaded.Servers[:gone], reloaded.Servers[gone+1:]...)
					}
				}
				if err := u.Update(reloaded); err != nil {
					rt.Error(err)
				}
				runtime.Gosched()
			}
		})
		for i := range rapid.IntRange(1, 30).Draw(rt, "clients") {
			clients.Go(func() { manyRequests(rt, h, i) })
		}
		clients.Wait()
		close(done)
		reloads.Wait()

		if err := u.Update(cfg); err != nil {
			rt.Fatal(err)
		}
		if w := line.waiting.Load(); w != 0 {
			rt.Errorf("%d wait", w)
		}
		for _, s := range u.Status() {
			if s.Active != 0 {
				rt.Errorf("%s has %d in flight", s.URL, s.Active)
			}
		}
		if apps.most > places && !removes { // a server that comes back is another one
			rt.Errorf("%d in flight at once", apps.most)
		}
		// Every server serves again: its place and its trial are free.
		apps.failing.Store(0)
		for _, s := range u.Status() {
			host := strings.TrimPrefix(s.URL, "http://")
			apps.mu.Lock()
			apps.served[host] = 0
			apps.mu.Unlock()
		}
		eventually(t, "every server serves", func() bool {
			for i := range 50 {
				r := httptest.NewRequest("GET", "http://shop/", nil)
				r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", i)
				if err := h.Forward(httptest.NewRecorder(), r); err != nil {
					rt.Error(err)
				}
			}
			apps.mu.Lock()
			defer apps.mu.Unlock()
			for _, s := range u.Status() {
				if apps.served[strings.TrimPrefix(s.URL, "http://")] == 0 {
					return false
				}
			}
			return true
		})
		u.Close()
	})
}

// manyRequests is a client that sends requests one after another; some clients disconnect at any time.
func manyRequests(t *rapid.T, h *proxy.Handler, client int) {
	for range 20 {
		ctx, disconnect := context.WithTimeout(context.Background(), time.Minute)
		leaves := client%4 == 0
		if leaves {
			go func() {
				for range rand.IntN(40) {
					runtime.Gosched()
				}
				disconnect()
			}()
		}
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(ctx, []string{"GET", "POST"}[rand.IntN(2)], "http://shop/", nil)
		r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", client)
		err := h.Forward(w, r)
		disconnect()
		var failure *proxy.Error
		switch {
		case leaves || err == nil:
		case !errors.As(err, &failure) || failure.Kind != proxy.KindConnect:
			t.Errorf("client %d: %v", client, err)
		}
	}
}
