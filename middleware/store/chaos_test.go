package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/store"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

var increment = store.NewScript(`return redis.call("incr", KEYS[1])`)

// opens waits until the breaker is open.
func opens(t *testing.T, r *store.Redis) {
	t.Helper()
	eventually(t, "the breaker opens", func() bool { _ = r.Do(t.Context(), cmd("get", "x")); return !r.Available() })
}

func recovers(t *testing.T, r *store.Redis) {
	t.Helper()
	begin := time.Now()
	eventually(t, "it serves again", func() bool { return r.Do(t.Context(), increment.Call([]string{"recovered"})) == nil })
	t.Logf("recovered in %v", time.Since(begin).Round(time.Millisecond))
}

func TestWhatRedisRefusesToOneCommandIsNotAnOutage(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args    []string
		prepare func(t *testing.T, s *redistest.Server) (url string)
		want    string
	}{
		"out of memory": {nil, func(t *testing.T, s *redistest.Server) string {
			s.Client.ConfigSet(t.Context(), "maxmemory", "1")
			return s.URL
		}, "OOM"},
		"too few replicas": {nil, func(t *testing.T, s *redistest.Server) string {
			s.Client.ConfigSet(t.Context(), "min-replicas-to-write", "1")
			return s.URL
		}, "NOREPLICAS"},
		"no permission": {nil, func(t *testing.T, s *redistest.Server) string {
			if err := s.Client.ACLSetUser(t.Context(), "reader", "on", ">pw", "~*", "+@all", "-incr", "-set").Err(); err != nil {
				t.Fatal(err)
			}
			return strings.Replace(s.URL, "redis://", "redis://reader:pw@", 1)
		}, "NOPERM"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, tc.args...)
			server.Client.Set(t.Context(), "session", "alice", time.Hour)
			r := open(t, store.Options{URL: tc.prepare(t, server), Timeout: 10 * time.Second})
			for range 10 {
				read, write := cmd("get", "session"), cmd("incr", "n")
				if err := r.Do(t.Context(), read, write); err != nil {
					t.Fatalf("the read is lost with the write: %v", err)
				}
				if read.Val() != "alice" || write.Err() == nil || !strings.HasPrefix(write.Err().Error(), tc.want) {
					t.Fatalf("read %v, write %v", read.Val(), write.Err())
				}
			}
			if !r.Available() {
				t.Error("the breaker is open")
			}
		})
	}
}

// A replica answers every PING. A breaker that believes it opens and closes for ever,
// and each time a few callers are the ones to find out.
func TestAReplicaIsNotTakenForItsMaster(t *testing.T) {
	t.Parallel()
	server, master := redistest.Start(t), redistest.Start(t)
	r := open(t, store.Options{URL: server.URL, Timeout: 5 * time.Second})
	var changes atomic.Int32
	r.OnChange(func(bool) { changes.Add(1) })
	host, port, _ := strings.Cut(master.Addr, ":")
	if err := server.Client.ReplicaOf(t.Context(), host, port).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the breaker opens", func() bool {
		_ = r.Do(t.Context(), cmd("get", "x"), increment.Call([]string{"n"}))
		return !r.Available()
	})
	for end := time.Now().Add(600 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
		_ = r.Do(t.Context(), cmd("get", "x"), increment.Call([]string{"n"}))
	}
	if n := changes.Load(); n != 1 {
		t.Errorf("the breaker opened and closed %d times", n)
	}
	if err := server.Client.ReplicaOf(t.Context(), "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
	recovers(t, r)
}

// Redis is busy while the script runs, and answers the probe when it is done.
func TestARedisThatAnswersTheProbeAloneCostsFewWaits(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := open(t, store.Options{URL: server.URL, Timeout: 50 * time.Millisecond})
	slow := store.NewScript(`local function us() local t = redis.call("time") return t[1] * 1000000 + t[2] end
		local till = us() + 80000
		while us() < till do end
		return redis.call("incr", KEYS[1])`)
	waited := 0
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		before := r.RoundTrips()
		_ = r.Do(t.Context(), slow.Call([]string{"n"}))
		if r.RoundTrips() != before {
			waited++
		}
	}
	t.Logf("%d callers waited", waited)
	if waited > 14 {
		t.Errorf("%d callers waited for a Redis that serves nobody", waited)
	}
}

func TestALoadingRedisIsWaitedForByNobody(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024", "--key-load-delay", "2000")
	for i := range 500 {
		server.Client.Set(t.Context(), fmt.Sprint("k", i), strings.Repeat("x", 100), time.Hour)
	}
	r := open(t, store.Options{URL: server.URL, Timeout: 5 * time.Second})
	loaded := make(chan error, 1)
	go func() {
		c := redis.NewClient(&redis.Options{Addr: server.Addr, ReadTimeout: time.Minute, MaxRetries: -1})
		defer c.Close()
		loaded <- c.Do(context.Background(), "debug", "reload").Err()
	}()
	opens(t, r)
	if err := r.Do(t.Context(), cmd("get", "k1")); err == nil || !strings.Contains(err.Error(), "LOADING") {
		t.Errorf("the reason is not told: %v", err)
	}
	if err := <-loaded; err != nil {
		t.Fatal(err)
	}
	recovers(t, r)
}

func TestTooManyClientsIsAnOutageThatEnds(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	if err := server.Client.ConfigSet(t.Context(), "maxclients", "1").Err(); err != nil {
		t.Fatal(err)
	}
	r := open(t, store.Options{URL: server.URL, Timeout: 2 * time.Second})
	opens(t, r)
	if err := r.Do(t.Context(), cmd("get", "x")); !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
	server.Client.ConfigSet(t.Context(), "maxclients", "100")
	recovers(t, r)
}

func TestPartitions(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(*redistest.Proxy){
		"packets are lost":       (*redistest.Proxy).Swallow,
		"connections are cut":    (*redistest.Proxy).Cut,
		"every reply is late":    func(p *redistest.Proxy) { p.Delay(150 * time.Millisecond) },
		"replies end in mid-air": func(p *redistest.Proxy) { p.CutAfter(1) },
		"replies stop":           func(p *redistest.Proxy) { p.StallAfter(1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := redistest.StartProxy(t, redistest.Start(t).Addr)
			r := open(t, store.Options{URL: proxy.URL, Timeout: 100 * time.Millisecond})
			eventually(t, "it answers", func() bool { return r.Do(t.Context(), cmd("get", "x")) == nil })
			begin(proxy)

			var longest atomic.Int64
			var wg sync.WaitGroup
			start := time.Now()
			for range 50 {
				wg.Go(func() {
					for r.Available() && time.Since(start) < 10*time.Second {
						begin := time.Now()
						if err := r.Do(t.Context(), cmd("get", "x")); err == nil {
							t.Error("answered")
						}
						if took := int64(time.Since(begin)); took > longest.Load() {
							longest.Store(took)
						}
					}
				})
			}
			wg.Wait()
			if r.Available() {
				t.Error("the breaker stays closed")
			}
			t.Logf("open after %v, longest wait %v", time.Since(start).Round(time.Millisecond), time.Duration(longest.Load()).Round(time.Millisecond))
			proxy.Heal()
			recovers(t, r)
		})
	}
}

// Connections break at any byte of a reply. A caller gets its own reply or an error,
// and a script that was asked for once has not run twice.
func TestAResetInMidReplyMixesUpNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr)
	r := open(t, store.Options{URL: proxy.URL, Timeout: 2 * time.Second})
	var asked, answered atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				echo, count := cmd("echo", fmt.Sprint(i, "-", n)), increment.Call([]string{"n"})
				if r.Available() {
					asked.Add(1)
				}
				if err := r.Do(t.Context(), echo, count); err != nil {
					time.Sleep(time.Millisecond)
					continue
				}
				answered.Add(1)
				if v, err := echo.Text(); err != nil || v != fmt.Sprint(i, "-", n) {
					t.Errorf("%d-%d got %q, %v", i, n, v, err)
				}
			}
		})
	}
	for range 40 {
		proxy.CutAfter(1 + rand.IntN(4000))
		time.Sleep(10 * time.Millisecond)
		proxy.Heal()
		time.Sleep(10 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	n, _ := server.Client.Get(t.Context(), "n").Int64()
	t.Logf("%d asked, %d counted, %d answered", asked.Load(), n, answered.Load())
	if n < answered.Load() {
		t.Errorf("%d answered, but %d counted", answered.Load(), n)
	}
	if n > asked.Load()+32 { // a breaker may close between the look and the call
		t.Errorf("%d asked, but %d counted", asked.Load(), n)
	}
}

// The reply to a large value does not arrive. Small commands neither travel nor wait
// with it, and it is not taken for an outage.
func TestLargeValuesHoldUpNobody(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr)
	server.Client.Set(t.Context(), "large", strings.Repeat("x", 1<<20), time.Hour)
	r := open(t, store.Options{URL: proxy.URL, Timeout: time.Second})
	eventually(t, "it answers", func() bool { return r.Do(t.Context(), cmd("get", "x")) == nil })
	proxy.StallAfter(256 << 10)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if err := r.DoLarge(t.Context(), cmd("get", "large")); err == nil {
						t.Error("the large value arrived")
					}
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	for i := range 200 {
		if err := r.Do(t.Context(), increment.Call([]string{"n"})); err != nil {
			t.Errorf("decision %d: %v", i, err)
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	if !r.Available() {
		t.Error("a slow large value was taken for an outage")
	}
	proxy.Heal()
	eventually(t, "large values are served again", func() bool {
		c := cmd("get", "large")
		return r.DoLarge(t.Context(), c) == nil && len(c.Val().(string)) == 1<<20
	})
}

func TestThousandsWaitNoLongerThanOne(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := open(t, store.Options{URL: server.URL, Timeout: 300 * time.Millisecond})
	if err := r.Do(t.Context(), cmd("ping")); err != nil {
		t.Fatal(err)
	}
	server.Pause()
	var wg sync.WaitGroup
	var longest atomic.Int64
	for range 5000 {
		wg.Go(func() {
			begin := time.Now()
			if err := r.Do(t.Context(), increment.Call([]string{"n"})); !errors.Is(err, store.ErrUnavailable) {
				t.Error(err)
			}
			if took := int64(time.Since(begin)); took > longest.Load() {
				longest.Store(took)
			}
		})
	}
	wg.Wait()
	server.Resume()
	t.Logf("longest wait %v", time.Duration(longest.Load()).Round(time.Millisecond))
	recovers(t, r)
}

func TestCloseWhileBusyLeavesNothingBehind(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for _, paused := range []bool{false, true} {
		t.Run(fmt.Sprint("paused=", paused), func(t *testing.T) {
			server := redistest.Start(t)
			r := open(t, store.Options{URL: server.URL, Timeout: time.Second})
			var wg sync.WaitGroup
			stop := make(chan struct{})
			for range 100 {
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							_ = r.Do(t.Context(), cmd("get", "x"))
						}
					}
				})
			}
			time.Sleep(20 * time.Millisecond)
			if paused {
				server.Pause()
				defer server.Resume()
			}
			time.Sleep(20 * time.Millisecond)
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if err := r.Do(t.Context(), cmd("get", "x")); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("after Close: %v", err)
			}
			close(stop)
			wg.Wait()
		})
	}
}
