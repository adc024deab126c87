package blocklist_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/blocklist"
	"github.com/headgate/headgate/middleware/store"
	"pgregory.net/rapid"
)

// follower is an instance that follows the list.
type follower struct {
	*blocklist.List
	stop func() // and waits until it has
}

// follow starts an instance. It is stopped with the test.
func follow(t testing.TB, url string, o blocklist.Options) *follower {
	t.Helper()
	redis, err := store.Open(store.Options{URL: url, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	o.Redis, o.Logger = redis, slog.New(slog.DiscardHandler)
	f := &follower{List: newList(t, o)}
	if err := f.Ready(context.Background()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Follow(ctx)
	}()
	present := func() bool { // so that a change need not wait for a second
		n, err := redis.Client().HLen(ctx, redis.Key("{blocks}", "instances")).Result()
		return err == nil && n > 0
	}
	eventually(t, "an instance follows", present)
	f.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(func() {
		f.stop()
		_ = redis.Close()
	})
	return f
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

func TestAChangeIsInForceOnEveryInstanceWhenItIsConfirmed(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	var all []*follower
	for i := range 3 {
		all = append(all, follow(t, redis.URL, blocklist.Options{Instance: fmt.Sprint("gate-", i)}))
	}
	for i := range 20 {
		net := fmt.Sprintf("192.0.2.%d/32", i)
		// One that could not say so in time is named, and has it soon.
		confirmed := func(o blocklist.Outcome, want string) {
			t.Helper()
			late := map[string]bool{}
			for _, u := range o.Unconfirmed {
				late[u.Name] = true
			}
			for j, l := range all {
				if got := by(l.List, net[:len(net)-3]); got != want && !late[fmt.Sprint("gate-", j)] {
					t.Errorf("%s at gate-%d, which has confirmed: %q", net, j, got)
				}
			}
		}
		o := add(t, all[i%3].List, net, time.Hour)
		confirmed(o, net)
		if o.Block.Reason != "test" || o.Block.By != "me" || o.Block.Until.Sub(o.Block.Since) != time.Hour {
			t.Errorf("%+v", o.Block)
		}
		o, found, err := all[(i+1)%3].Remove(context.Background(), network(net))
		if err != nil || !found {
			t.Errorf("%v %v", found, err)
		}
		confirmed(o, "")
	}
	add(t, all[0].List, "198.51.100.0/24", time.Hour)
	if n := redis.AssertEveryKeyExpires(t); n == 0 {
		t.Error("nothing is kept")
	}
}

func TestAnInstanceThatDiesIsNamedAndOneThatLeavesIsNot(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	proxy := redistest.StartProxy(t, redis.Addr)
	a, dead, gone := follow(t, redis.URL, blocklist.Options{Instance: "a"}), follow(t, "redis://"+proxy.Addr, blocklist.Options{Instance: "dead one"}), follow(t, redis.URL, blocklist.Options{Instance: "gone"})
	add(t, a.List, "192.0.2.1/32", 0)
	gone.stop()
	proxy.Cut()
	begun := time.Now()
	o := add(t, a.List, "192.0.2.2/32", 0)
	if took := time.Since(begun); took < time.Second {
		t.Errorf("an instance that does not answer was given %s", took)
	}
	if len(o.Unconfirmed) != 1 || o.Unconfirmed[0].Name != "dead-one" || o.Unconfirmed[0].Silent <= 0 {
		t.Errorf("%+v", o.Unconfirmed)
	}
	if by(a.List, "192.0.2.2") == "" {
		t.Error("the block is not in force")
	}
	if by(dead.List, "192.0.2.1") == "" {
		t.Error("what is known without Redis is not in force")
	}
	proxy.Heal()
	eventually(t, "the other instance has it", func() bool { return by(dead.List, "192.0.2.2") != "" })
	eventually(t, "and says so", func() bool { return add(t, a.List, "192.0.2.3/32", 0).Unconfirmed == nil })
}

func TestBlocksOutliveInstances(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	first := follow(t, redis.URL, blocklist.Options{})
	add(t, first.List, "192.0.2.0/24", time.Hour)
	add(t, first.List, "2001:db8::/32", 0)
	before := first.All()
	first.stop()
	second := follow(t, redis.URL, blocklist.Options{})
	if got := fmt.Sprint(second.All()); got != fmt.Sprint(before) || len(before) != 2 {
		t.Errorf("%s, want %v", got, before)
	}
}

func TestWhileRedisIsAwayBlocksStayAndEndByTheLocalClock(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	c := newClock() // years apart from Redis'
	l := follow(t, redis.URL, blocklist.Options{Now: c.Now})
	add(t, l.List, "192.0.2.1/32", time.Hour)
	add(t, l.List, "192.0.2.2/32", 0)
	l.stop()
	redis.Stop()
	if _, err := l.Add(context.Background(), blocklist.Block{Network: network("192.0.2.3/32")}, 0); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	if by(l.List, "192.0.2.1") == "" || by(l.List, "192.0.2.2") == "" || by(l.List, "192.0.2.3") != "" {
		t.Error("not what was known")
	}
	if c.add(59 * time.Minute); by(l.List, "192.0.2.1") == "" {
		t.Error("it has ended too early")
	}
	if c.add(time.Minute + time.Second); by(l.List, "192.0.2.1") != "" || by(l.List, "192.0.2.2") == "" || l.Len() != 1 {
		t.Error("it has not ended, or the other one has")
	}
}

func TestARedisThatHasLostTheBlocksGetsThemBack(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	a, b := follow(t, redis.URL, blocklist.Options{}), follow(t, redis.URL, blocklist.Options{})
	for i := range 300 { // more than a page
		blocklist.Write(t, a.List, fmt.Sprintf("10.0.%d.%d/32", i/256, i%256))
	}
	add(t, a.List, "192.0.2.1/32", time.Hour)
	add(t, a.List, "192.0.2.2/32", 0)
	remove(t, b.List, "192.0.2.2/32")
	add(t, b.List, "192.0.2.2/32", 0)
	var watch sync.WaitGroup
	defer watch.Wait()
	over := make(chan struct{})
	defer close(over)
	for _, l := range []*blocklist.List{a.List, b.List} {
		watch.Go(func() { // two instances restore the same, and neither lets a request pass meanwhile
			for {
				select {
				case <-over:
					return
				default:
				}
				if by(l, "192.0.2.1") == "" || by(l, "10.0.1.43") == "" {
					t.Error("meanwhile they are not in force")
					return
				}
			}
		})
	}
	for _, lose := range []func(){redis.FlushAll, func() {
		if err := redis.Client.Del(context.Background(), "headgate:{blocks}:blocks").Err(); err != nil { // as an eviction would
			t.Error(err)
		}
	}} {
		lose()
		eventually(t, "a new instance has them", func() bool {
			c := follow(t, redis.URL, blocklist.Options{})
			defer c.stop()
			return ends(c.All()) == ends(a.All()) && len(c.All()) == 302
		})
	}
	if ends(a.All()) != ends(b.All()) {
		t.Error("two instances differ")
	}
}

// ends is the networks, and which of their blocks end.
func ends(all []blocklist.Block) (s string) {
	for _, b := range all {
		s += fmt.Sprint(b.Network, b.Until.IsZero(), b.Reason, " ")
	}
	return s
}

func TestBlocksThatHaveEndedLeaveRedis(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	l := follow(t, redis.URL, blocklist.Options{Max: 2})
	add(t, l.List, "192.0.2.1/32", time.Second)
	add(t, l.List, "192.0.2.2/32", 0)
	if _, err := l.Add(context.Background(), blocklist.Block{Network: network("192.0.2.3/32")}, 0); err != nil && !errors.Is(err, blocklist.ErrFull) {
		t.Errorf("%v", err)
	}
	eventually(t, "there is room", func() bool {
		_, err := l.Add(context.Background(), blocklist.Block{Network: network("192.0.2.4/32")}, 0)
		return err == nil || by(l.List, "192.0.2.3") != ""
	})
	if n, err := redis.Client.HLen(context.Background(), "headgate:{blocks}:blocks").Result(); n != 2 || err != nil {
		t.Errorf("%d blocks in Redis, %v", n, err)
	}
}

// TestInstancesAgreeWhateverIsDone: blocks and unblocks at random instances, losses and outages of
// some, and in the end all have the same blocks, which are those that were asked for last.
func TestInstancesAgreeWhateverIsDone(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	rapid.Check(t, func(rt *rapid.T) {
		redis.FlushAll()
		all := []*follower{follow(t, redis.URL, blocklist.Options{}), follow(t, redis.URL, blocklist.Options{})}
		want := map[netip.Prefix]bool{}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			l := all[rapid.IntRange(0, len(all)-1).Draw(rt, "instance")].List
			addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(0, 3).Draw(rt, "last"))})
			p, _ := addr.Prefix(rapid.SampledFrom([]int{30, 31, 32}).Draw(rt, "bits"))
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0, 1, 2:
				add(t, l, p.String(), rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(rt, "for"))
				want[p] = true
			case 3, 4:
				if found := remove(t, l, p.String()); found != want[p] {
					rt.Fatalf("%s: found %v, among %v", p, found, want)
				}
				delete(want, p)
			default:
				all = append(all, follow(t, redis.URL, blocklist.Options{}))
			}
		}
		for i, l := range all {
			eventually(t, "the instances agree", func() bool { return l.Len() == len(want) })
			for p := range want {
				if _, ok := l.Find(p.Addr()); !ok || len(l.Holding(p)) == 0 {
					rt.Fatalf("instance %d lacks %s", i, p)
				}
			}
			l.stop()
		}
	})
}

func TestAThousandBlocksInACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	a := follow(t, cluster.URL, blocklist.Options{})
	for i := range 1000 {
		blocklist.Write(t, a.List, fmt.Sprintf("10.0.%d.%d/32", i/256, i%256))
	}
	b := follow(t, cluster.URL, blocklist.Options{})
	if b.Len() != 1000 || by(b.List, "10.0.3.231") == "" {
		t.Errorf("%d blocks", b.Len())
	}
	o := add(t, b.List, "192.0.2.0/24", 0)
	if by(a.List, "192.0.2.1") == "" && o.Unconfirmed == nil {
		t.Error("it is confirmed and not in force")
	}
	eventually(t, "the first has all", func() bool { return a.Len() == 1001 })
}

// TestManyBlocks is for a look at what a hundred thousand blocks cost: HEADGATE_MANY_BLOCKS=1 go test -run ManyBlocks -v.
func TestManyBlocks(t *testing.T) {
	if os.Getenv("HEADGATE_MANY_BLOCKS") == "" {
		t.Skip("HEADGATE_MANY_BLOCKS is not set")
	}
	redis := redistest.Start(t)
	a := follow(t, redis.URL, blocklist.Options{})
	begun := time.Now()
	for i := range 99_999 {
		blocklist.Write(t, a.List, fmt.Sprintf("10.%d.%d.%d/32", i>>16, i>>8&255, i&255))
	}
	t.Logf("written in %s", time.Since(begun))
	begun = time.Now()
	b := follow(t, redis.URL, blocklist.Options{})
	t.Logf("%d read by a new instance in %s", b.Len(), time.Since(begun))
	begun = time.Now()
	o := add(t, a.List, "192.0.2.0/24", 0)
	t.Logf("one more in %s, unconfirmed by %v", time.Since(begun), o.Unconfirmed)
	used, _ := redis.Client.Info(context.Background(), "memory").Result()
	t.Log(used[:200])
}
