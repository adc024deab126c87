package store_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/store"
)

// count2 counts on the first of two keys, which during a migration may lie apart.
var count2 = store.NewScript(`redis.call("get", KEYS[2]) return redis.call("incr", KEYS[1])`)

func TestCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	ctx := t.Context()
	r := open(t, store.Options{URL: c.URL, Timeout: 5 * time.Second})
	eventually(t, "it answers", func() bool { return r.Do(ctx, cmd("get", "x")) == nil })

	// owner returns the node of a key, and another one.
	owner := func(key string) (from, to *redistest.Server) {
		t.Helper()
		node, err := c.Client.MasterForKey(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range c.Nodes {
			if s.Addr == node.Options().Addr {
				return s, c.Nodes[(i+1)%len(c.Nodes)]
			}
		}
		t.Fatalf("nobody has %s", key)
		return nil, nil
	}

	t.Run("replies find their callers across slots", func(t *testing.T) {
		var wg sync.WaitGroup
		before := r.RoundTrips()
		for i := range 300 {
			wg.Go(func() {
				a, b, d := fmt.Sprint("a", i), fmt.Sprint("b", i), fmt.Sprint("d", i)
				set, count := cmd("set", a, i, "px", 60_000), increment.Call([]string{b})
				if err := r.Do(ctx, set, count, cmd("get", d)); err != nil {
					t.Error(err)
					return
				}
				if n, err := count.Int(); n != 1 || err != nil {
					t.Errorf("%s is %d, %v", b, n, err)
				}
				get := cmd("get", a)
				if err := r.Do(ctx, get); err != nil || get.Val() != fmt.Sprint(i) {
					t.Errorf("%s is %v, %v", a, get.Val(), err)
				}
			})
		}
		wg.Wait()
		if n := r.RoundTrips() - before; n > 400 {
			t.Errorf("%d round trips for 1200 commands of 300 callers at three masters", n)
		}
	})

	t.Run("a slot that moves loses and repeats nothing", func(t *testing.T) {
		const one, two = "{moving}1", "{moving}2"
		from, to := owner(one)
		slot := from.Client.ClusterKeySlot(ctx, one).Val()
		fromID, toID := from.Client.Do(ctx, "cluster", "myid").Val(), to.Client.Do(ctx, "cluster", "myid").Val()
		host, port, _ := net.SplitHostPort(to.Addr)
		must := func(s *redistest.Server, args ...any) {
			t.Helper()
			if err := s.Client.Do(ctx, args...).Err(); err != nil {
				t.Fatalf("%v: %v", args, err)
			}
		}
		want := 0
		count := func(phase string) {
			t.Helper()
			call := count2.Call([]string{one, two})
			want++
			if err := r.Do(ctx, call, cmd("get", "elsewhere")); err != nil {
				t.Fatalf("%s: %v", phase, err)
			}
			if n, err := call.Int(); n != want || err != nil {
				t.Fatalf("%s: run %d answered %d, %v", phase, want, n, err)
			}
		}
		must(from, "set", two, "x")
		count("before")
		must(to, "cluster", "setslot", slot, "importing", fromID)
		must(from, "cluster", "setslot", slot, "migrating", toID)
		count("migrating")
		must(from, "migrate", host, port, two, 0, 5000)
		for range 10 {
			if err := r.Do(ctx, count2.Call([]string{one, two})); !errors.Is(err, store.ErrUnavailable) {
				t.Fatalf("with its keys apart a script is answered %v", err)
			}
		}
		if !r.Available() {
			t.Error("a slot in migration was taken for an outage")
		}
		must(from, "migrate", host, port, one, 0, 5000)
		count("asked elsewhere")
		must(to, "cluster", "setslot", slot, "node", toID)
		must(from, "cluster", "setslot", slot, "node", toID)
		count("moved")
		count("moved and known")
		must(to, "del", one, two)
	})

	t.Run("one master that hangs delays nobody else", func(t *testing.T) {
		r := open(t, store.Options{URL: c.URL, Timeout: 300 * time.Millisecond})
		keys := map[*redistest.Server]string{}
		for i := 0; len(keys) < len(c.Nodes); i++ {
			s, _ := owner(fmt.Sprint("k", i))
			keys[s] = fmt.Sprint("k", i)
		}
		for _, key := range keys {
			eventually(t, "the masters are known", func() bool { return r.Do(ctx, cmd("get", key)) == nil })
		}
		time.Sleep(50 * time.Millisecond) // the table of slots follows the first answer
		sick := c.Nodes[0]
		sick.Pause()
		var wg sync.WaitGroup
		var waited atomic.Int64
		stop := make(chan struct{})
		for range 20 {
			wg.Go(func() {
				for r.Available() {
					begin := time.Now()
					_ = r.Do(ctx, cmd("get", keys[sick]))
					if took := int64(time.Since(begin)); took > waited.Load() {
						waited.Store(took)
					}
				}
			})
		}
		for _, s := range c.Nodes[1:] {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if err := r.Do(ctx, increment.Call([]string{keys[s]})); err != nil {
							t.Errorf("%s, who is well: %v", s.Addr, err)
							return
						}
					}
				}
			})
		}
		eventually(t, "its breaker opens", func() bool { return !r.Available() })
		if err := r.Do(ctx, cmd("get", keys[c.Nodes[1]]), cmd("get", keys[sick])); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a call to both: %v", err)
		}
		sick.Resume()
		begin := time.Now()
		eventually(t, "it is used again", func() bool { return r.Do(ctx, cmd("get", keys[sick])) == nil })
		t.Logf("longest wait for the one that hangs %v; recovered in %v",
			time.Duration(waited.Load()).Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
		close(stop)
		wg.Wait()
	})

	t.Run("a replica that takes over is found", func(t *testing.T) {
		old, other := owner("taken")
		replica := redistest.Start(t, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
			"--cluster-announce-ip", "127.0.0.1", "--cluster-node-timeout", "5000")
		host, port, _ := net.SplitHostPort(other.Addr)
		replica.Client.ClusterMeet(ctx, host, port)
		id := old.Client.Do(ctx, "cluster", "myid").Val()
		eventually(t, "it follows", func() bool { return replica.Client.Do(ctx, "cluster", "replicate", id).Err() == nil })
		eventually(t, "it is in step", func() bool {
			return strings.Contains(replica.Client.Info(ctx, "replication").Val(), "master_link_status:up") &&
				strings.Contains(replica.Client.ClusterInfo(ctx).Val(), "cluster_slots_ok:16384") // or else it takes over nothing
		})
		r := open(t, store.Options{URL: c.URL, Timeout: 300 * time.Millisecond})
		eventually(t, "it answers", func() bool { return r.Do(ctx, increment.Call([]string{"taken"})) == nil })
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						_ = r.Do(ctx, increment.Call([]string{"taken"}))
						time.Sleep(time.Millisecond)
					}
				}
			})
		}
		old.Kill()
		begin := time.Now()
		eventually(t, "it may take over", func() bool {
			_ = replica.Client.Do(ctx, "cluster", "failover", "takeover").Err()
			return strings.Contains(replica.Client.Info(ctx, "replication").Val(), "role:master")
		})
		t.Logf("took over after %v", time.Since(begin).Round(time.Millisecond))
		begin = time.Now()
		eventually(t, "the new master counts", func() bool { return r.Do(ctx, increment.Call([]string{"taken"})) == nil })
		t.Logf("used after %v", time.Since(begin).Round(time.Millisecond))
		close(stop)
		wg.Wait()
		eventually(t, "all is well again", r.Available)
	})
}

func TestSentinelsNewMasterIsUsed(t *testing.T) {
	t.Parallel()
	w := redistest.StartSentinel(t)
	r := open(t, store.Options{URL: w.URL, Timeout: 300 * time.Millisecond})
	eventually(t, "it answers", func() bool { return r.Do(t.Context(), increment.Call([]string{"n"})) == nil })
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var longest atomic.Int64
	for range 16 {
		wg.Go(func() {
			for ctx.Err() == nil {
				begin := time.Now()
				_ = r.Do(ctx, cmd("get", "session"), increment.Call([]string{"n"}))
				if took := int64(time.Since(begin)); took > longest.Load() {
					longest.Store(took)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	w.Master.Kill()
	begin := time.Now()
	eventually(t, "the breaker opens", func() bool { return !r.Available() })
	eventually(t, "the Sentinels agree", func() bool { return w.Current(t) == w.Replica })
	agreed := time.Now()
	eventually(t, "the new master counts", func() bool { return r.Do(t.Context(), increment.Call([]string{"n"})) == nil })
	stop()
	wg.Wait()
	t.Logf("the Sentinels agreed after %v, it was used %v later; longest wait %v", agreed.Sub(begin).Round(time.Millisecond),
		time.Since(agreed).Round(time.Millisecond), time.Duration(longest.Load()).Round(time.Millisecond))
}
