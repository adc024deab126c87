package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/store"
)

// openAccount makes the account of an instance that runs until the test ends,
// or until kill is called: then it is silent, as a killed process is.
func openAccount(t testing.TB, url string, limit int64, lease time.Duration) (a *Account, r *store.Redis, kill func()) {
	t.Helper()
	r, err := store.Open(store.Options{URL: url, Timeout: patience / 2})
	if err != nil {
		t.Fatal(err)
	}
	a = NewAccount(AccountOptions{Redis: r, Logger: slog.New(slog.DiscardHandler), Limit: limit, Lease: lease})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { a.Follow(ctx); close(ended) }()
	kill = sync.OnceFunc(func() { stop(); <-ended; r.Close() })
	t.Cleanup(kill)
	return a, r, kill
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in a minute: %s", what)
		}
	}
}

func reserve(t *testing.T, a *Account, n int64) bool {
	t.Helper()
	ok, err := a.Reserve(testContext(t), n)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func TestBucketsEndAfterWhatIsInThem(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := time.Duration(rapid.Int64Range(1e18, 2e18).Draw(t, "now"))
		in := time.Duration(rapid.Int64Range(1, int64(400*24*time.Hour)).Draw(t, "in"))
		end := time.Duration(bucketEnd(now, in)) * time.Second
		if late := end - (now + in); late < 0 || late > in/16+2*time.Second {
			t.Fatalf("what expires in %v leaves the account %v later", in, late)
		}
		passed := time.Duration(rapid.Int64Range(0, int64(in)-1).Draw(t, "passed"))
		if taken := time.Duration(bucketEnd(now+passed, in-passed)) * time.Second; taken > end {
			t.Fatalf("what is taken out %v later would be missing for %v after it has expired", passed, taken-end)
		}
	})
}

// totalScript is what Redis really holds: the values of the test's keys, which
// say how many bytes they stand for.
var totalScript = store.NewScript(`
local total = 0
for _, key in ipairs(redis.call('KEYS', KEYS[1])) do total = total + (redis.call('GET', key) or 0) end
return total
`)

func total(t testing.TB, r *store.Redis) int64 {
	t.Helper()
	call := totalScript.Call([]string{"x:*"})
	if err := r.Do(context.Background(), call); err != nil {
		t.Fatal(err)
	}
	n, err := call.Int64()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Instances that store, replace, are killed and come back never keep more in
// Redis than the limit, while the leases of the killed ones run; and all of it is
// free again when it has expired.
func TestAccountHoldsOverInstancesThatDie(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	server := redistest.Start(t)
	_, looking, _ := openAccount(t, server.URL, limit, patience)
	var refused, most, kills atomic.Int64
	deadline := time.Now().Add(8 * time.Second)
	var instances sync.WaitGroup
	for i := range 3 {
		random := rand.New(rand.NewPCG(uint64(i), 17))
		instances.Go(func() {
			a, r, kill := openAccount(t, server.URL, limit, patience)
			for step := 0; time.Now().Before(deadline); step++ {
				n := 100 + random.Int64N(20_000)
				if !reserve(t, a, n) {
					refused.Add(1)
					time.Sleep(time.Millisecond)
					continue
				}
				ttl := time.Duration(500+random.IntN(2500)) * time.Millisecond
				key := fmt.Sprintf("x:%d:%d", i, step)
				set := r.Client().Set(context.Background(), key, n, ttl)
				if set.Err() != nil {
					t.Error(set.Err())
				}
				switch random.IntN(8) {
				case 0: // the estimate was too high
					a.Settle(n, Change{ttl, n})
				case 1: // replaced at once
					a.Settle(n, Change{ttl, n})
					if left := r.Client().PTTL(context.Background(), key).Val(); left > 0 && r.Client().Del(context.Background(), key).Val() == 1 {
						a.Settle(0, Change{left, -n})
					}
				case 2: // kept longer
					a.Settle(n, Change{ttl, n})
					if left := r.Client().PTTL(context.Background(), key).Val(); left > 0 && r.Client().PExpire(context.Background(), key, 2*ttl).Val() {
						a.Settle(0, Change{left, -n}, Change{2 * ttl, n})
					}
				default:
					a.Settle(n, Change{ttl, n})
				}
				if step%150 == 149 {
					kills.Add(1)
					kill()
					a, r, kill = openAccount(t, server.URL, limit, patience)
				}
			}
		})
	}
	for time.Now().Before(deadline) {
		now := total(t, looking)
		most.Store(max(most.Load(), now))
		if now > limit {
			t.Errorf("Redis holds %d bytes, the limit is %d", now, limit)
			break
		}
		time.Sleep(3 * time.Millisecond)
	}
	instances.Wait()
	t.Logf("at most %d of %d bytes, %d refusals, %d kills", most.Load(), limit, refused.Load(), kills.Load())
	if refused.Load() == 0 || most.Load() < limit*3/4 {
		t.Errorf("at most %d of %d bytes were used, and %d requests refused", most.Load(), limit, refused.Load())
	}
	server.AssertEveryKeyExpires(t)
	last, r, _ := openAccount(t, server.URL, limit, patience)
	eventually(t, "everything has expired", func() bool { return total(t, r) == 0 })
	eventually(t, "nothing is counted any more", func() bool {
		if _, err := last.Reserve(testContext(t), limit/2); err != nil {
			t.Fatal(err)
		}
		return last.State().Bytes == 0
	})
}

func TestKilledInstancesLeaseEnds(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	server := redistest.Start(t)
	dead, _, kill := openAccount(t, server.URL, limit, 3*time.Second)
	if !reserve(t, dead, limit) {
		t.Fatal("there is no room in an empty Redis")
	}
	next, _, _ := openAccount(t, server.URL, limit, patience)
	if reserve(t, next, limit/2) {
		t.Fatal("there is room beside an instance that has reserved everything")
	}
	kill()
	eventually(t, "the lease of the killed instance has ended", func() bool { return reserve(t, next, limit/2) })
}

func TestCloseGivesTheLeaseBack(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	server := redistest.Start(t)
	a, _, kill := openAccount(t, server.URL, limit, patience)
	if !reserve(t, a, limit) {
		t.Fatal("there is no room in an empty Redis")
	}
	a.Settle(limit, Change{time.Hour, 1000})
	a.Close()
	kill()
	next, _, _ := openAccount(t, server.URL, limit, patience)
	if !reserve(t, next, limit-1000) {
		t.Fatal("the closed instance's bytes are still reserved")
	}
	if got := next.State().Bytes; got != 1000 {
		t.Fatalf("%d bytes are counted, not the 1000 that were reported", got)
	}
}

// A report whose reply is lost is sent again, and counts once.
func TestReportCountsOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, _, kill := openAccount(t, server.URL, 1<<20, patience)
	eventually(t, "Redis has answered", func() bool { return a.State().Instances == 1 })
	kill() // its Follow; from here on the test asks
	r, err := store.Open(store.Options{URL: server.URL, Timeout: patience / 2})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	a.o.Redis = r
	a.Settle(0, Change{time.Hour, 1000})
	for range 3 {
		a.mu.Lock()
		call, _ := a.request(a.since(), 0)
		a.mu.Unlock()
		if err := r.Do(testContext(t), call); err != nil { // and the reply is not read
			t.Fatal(err)
		}
	}
	a.Settle(0, Change{time.Hour, 10})
	for range 2 { // the first sends the old report again
		if err := a.sync(testContext(t), 0); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.State().Bytes; got != 1010 {
		t.Fatalf("%d bytes are counted, want 1010", got)
	}
}

// Requests for room that Redis does not have are refused without asking it.
func TestRefusalsCostNoRoundTrips(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, r, _ := openAccount(t, server.URL, 1<<20, patience)
	if !reserve(t, a, 1<<20) {
		t.Fatal("there is no room in an empty Redis")
	}
	began, before := time.Now(), r.RoundTrips()
	for range 10_000 {
		if reserve(t, a, 1000) {
			t.Fatal("there is room where everything is reserved")
		}
	}
	// Besides the refusals, the account is kept.
	if trips, most := r.RoundTrips()-before, 4+3*int64(time.Since(began)/asksAgain+1); trips > most {
		t.Fatalf("%d round trips, want %d at most", trips, most)
	}
}
