package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/proxy"
)

// moody is a server whose mood a test changes while requests come in.
type moody struct {
	*httptest.Server
	mood  atomic.Value // well, hanging, resetting or slow
	posts atomic.Int64
}

const (
	isWell    = "well"
	isHanging = "hanging"
	resets    = "resetting"
	isSlow    = "slow"
)

func newMoody(t testing.TB, l net.Listener) *moody {
	m := new(moody)
	m.mood.Store(isWell)
	m.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			m.posts.Add(1)
		}
		switch m.mood.Load() {
		case isHanging:
			<-r.Context().Done()
		case resets:
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
			}
		case isSlow:
			time.Sleep(50 * time.Millisecond)
		}
	}))
	if l != nil {
		m.Listener.Close()
		m.Listener = l
	}
	m.Start()
	t.Cleanup(func() { m.CloseClientConnections(); m.Close() })
	return m
}

// listenApart listens at a loopback address of this process' own, so that a server that is down can be started there again: of 127.0.0.1
// the kernel gives a free port to whichever connection or listener comes next. Systems that have no other address use that one.
func listenApart(t testing.TB) net.Listener {
	t.Helper()
	pid := os.Getpid()
	l, err := net.Listen("tcp", fmt.Sprintf("127.9.%d.%d:0", pid>>8&0xff, pid&0xff))
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// load sends requests from some clients until it is stopped.
type load struct {
	sent, failed atomic.Int64
	stop         func()
}

func startLoad(t testing.TB, clients int, method, url string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	l := new(load)
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for ctx.Err() == nil {
				req, _ := http.NewRequest(method, url, nil)
				res, err := client.Do(req)
				l.sent.Add(1)
				if err != nil {
					l.failed.Add(1)
					continue
				}
				if _, err = io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
					l.failed.Add(1)
				}
				res.Body.Close()
			}
		})
	}
	l.stop = func() { cancel(); wg.Wait(); client.CloseIdleConnections() }
	return l
}

// settle waits until the load has sent so many more requests.
func (l *load) more(t testing.TB, n int64) {
	t.Helper()
	from := l.sent.Load()
	eventually(t, fmt.Sprintf("%d more requests", n), func() bool { return l.sent.Load() >= from+n })
}

func TestFailingServersUnderLoadShowNoClientAnError(t *testing.T) {
	const clients = 16
	for _, way := range []string{"killed", resets, isSlow} {
		t.Run(way, func(t *testing.T) {
			victim, b, c := newMoody(t, listenApart(t)), newMoody(t, nil), newMoody(t, nil)
			u := newUpstream(t, proxy.Config{
				Servers: servers(victim.URL, b.URL, c.URL), Retries: 1, Timeout: 20 * time.Second,
				Ejection: proxy.Ejection{For: 200 * time.Millisecond},
			}, proxy.Options{})
			gw := front(t, u.Handler(proxy.RouteOptions{}))
			reads := startLoad(t, clients, http.MethodGet, gw.URL)
			writes := startLoad(t, clients/4, http.MethodPost, gw.URL)
			reads.more(t, 200)

			addr := victim.Listener.Addr().String()
			if way == "killed" {
				victim.Listener.Close()
				victim.CloseClientConnections()
				victim.Close()
			} else {
				victim.mood.Store(way)
			}
			reads.more(t, 500)
			if way != isSlow {
				eventually(t, "the victim is out", func() bool { return !u.Status()[0].Healthy })
			}
			if way == "killed" {
				l, err := net.Listen("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				victim = newMoody(t, l)
			} else {
				victim.mood.Store(isWell)
			}
			eventually(t, "the victim is back", func() bool { return u.Status()[0].Healthy })
			reads.more(t, 100)
			reads.stop()
			writes.stop()

			if n := reads.failed.Load(); n != 0 {
				t.Errorf("%d of %d reads failed", n, reads.sent.Load())
			}
			// Writes fail while they meet the dying server, not beyond: five
			// failures in a row open its breaker, and trials are for reads.
			if n := writes.failed.Load(); n > 5+clients/4 || way == isSlow && n > 0 {
				t.Errorf("%d of %d writes failed", n, writes.sent.Load())
			}
			arrived := victim.posts.Load() + b.posts.Load() + c.posts.Load()
			if way != "killed" && arrived > writes.sent.Load() {
				t.Errorf("%d writes were sent, %d arrived", writes.sent.Load(), arrived)
			}
			t.Logf("%s: %d reads, %d failed; %d writes, %d failed; %+v", way,
				reads.sent.Load(), reads.failed.Load(), writes.sent.Load(), writes.failed.Load(), u.Status()[0])
		})
	}
}

// Slow servers get less: what least_conn and p2c are for.
func TestSlowServerGetsLess(t *testing.T) {
	for _, balance := range []proxy.Balance{proxy.LeastConn, proxy.P2C} {
		slow, fast := newMoody(t, nil), newMoody(t, nil)
		slow.mood.Store(isSlow)
		u := newUpstream(t, proxy.Config{Servers: servers(slow.URL, fast.URL), Balance: balance}, proxy.Options{})
		l := startLoad(t, 8, http.MethodGet, front(t, u.Handler(proxy.RouteOptions{})).URL)
		l.more(t, 300)
		l.stop()
		if s := u.Status(); s[0].Requests*3 > s[1].Requests {
			t.Errorf("%s: the slow server got %d, the fast one %d", balance, s[0].Requests, s[1].Requests)
		}
	}
}

// TestLargeBodiesAreNotHeldInMemory moves 128 MiB twice each way, or as many as
// HEADGATE_TEST_BODY_MIB says: make it 5120 for 5 GiB.
func TestLargeBodiesAreNotHeldInMemory(t *testing.T) {
	size := int64(128 << 20)
	if s := os.Getenv("HEADGATE_TEST_BODY_MIB"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		size = n << 20
	}
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut { // idempotent: the one whose body is kept for a while
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n)
			return
		}
		if r.URL.Path == "/known" {
			w.Header().Set("Content-Length", fmt.Sprint(size))
		}
		_, _ = io.CopyN(w, zeros{}, size)
	})
	gw := gateway(t, proxy.Config{Servers: servers(app.URL, deadServer(t)), Retries: 1}, proxy.RouteOptions{})

	var most atomic.Uint64
	done := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most.Store(max(most.Load(), m.HeapInuse))
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)

	for _, path := range []string{"/known", "/unknown"} {
		res, err := http.Get(gw.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, res.Body); n != size || err != nil {
			t.Errorf("download: %d bytes, %v", n, err)
		}
		res.Body.Close()
	}
	for _, length := range []int64{size, -1} {
		req, _ := http.NewRequest(http.MethodPut, gw.URL, io.LimitReader(zeros{}, size))
		req.ContentLength = length
		if got := do(t, req); got.body != fmt.Sprint(size) {
			t.Errorf("upload: %s bytes arrived, %v", got.body, got.err)
		}
	}
	close(done)
	watcher.Wait()
	grown := int64(most.Load()) - int64(before.HeapInuse)
	t.Logf("the heap grew by %d KiB at most", grown>>10)
	if grown > 32<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}
