package cache_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/store"
)

// redisPatience is how long tests of correctness wait for Redis, and how long a
// lease lasts where the test is not about its end: on a busy machine a request
// must not pass Redis by.
const redisPatience = 30 * time.Second

// fleet is several instances with one Redis, one clock and one origin.
type fleet struct {
	sites  []*site
	stores []*store.Redis
	calls  *atomic.Int64
}

func newFleet(t testing.TB, n int, url string, options ...siteOption) *fleet {
	t.Helper()
	f := &fleet{calls: new(atomic.Int64)}
	k := newClock()
	for range n {
		r, err := store.Open(store.Options{URL: url, Timeout: redisPatience})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		f.stores = append(f.stores, r)
		f.sites = append(f.sites, newSite(t, append([]siteOption{withClock(k), withOptions(func(o *cache.Options) { o.Redis, o.Lease = r, redisPatience })}, options...)...))
	}
	return f
}

func (f *fleet) respond(h func(w http.ResponseWriter, r *http.Request)) {
	for _, s := range f.sites {
		s.respond(func(w http.ResponseWriter, r *http.Request) {
			f.calls.Add(1)
			h(w, r)
		})
	}
}

func (f *fleet) serves(status int, body string, fields ...string) {
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		for _, field := range fields {
			name, value, _ := strings.Cut(field, ": ")
			w.Header().Add(name, value)
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
}

func TestThousandClientsOnAColdKeyOverThreeInstancesAskTheOriginOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, redistest.Start(t).URL)
	body := strings.Repeat("top fifty ", 2_000)
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(300 * time.Millisecond)
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, body)
	})
	statuses := map[string]int{}
	for _, a := range crowd(t, 1000, func(i int) (*answer, error) {
		return f.sites[i%3].try(context.Background(), "GET", "/top")
	}) {
		statuses[a.cacheStatus()]++
		if a.StatusCode != 200 || a.body != body {
			t.Fatalf("status %d, %d bytes, %v", a.StatusCode, len(a.body), a.err)
		}
	}
	if n := f.calls.Load(); n != 1 {
		t.Fatalf("the origin was asked %d times: %v", n, statuses)
	}
}

func TestEntryOfOneInstanceIsAHitOnAnother(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := newFleet(t, 2, server.URL)
	for i, size := range []int{0, 1, 256 << 10, 256<<10 + 1, 700_000} {
		body := strings.Repeat("x", size)
		f.serves(200, body, "Cache-Control: max-age=60", "Vary: Accept-Language", `ETag: "v"`)
		path := fmt.Sprintf("/%d", i)
		f.sites[0].get(path, "Accept-Language: de")
		eventually(t, "the entry is in Redis", func() bool {
			return f.sites[1].do("GET", path, "Accept-Language: de", "Cache-Control: only-if-cached").StatusCode == 200
		})
		a := f.sites[1].get(path, "Accept-Language: de")
		if a.body != body || !a.hit() || a.Header.Get("Etag") != `"v"` {
			t.Fatalf("%d bytes, %s", len(a.body), a.cacheStatus())
		}
		if a := f.sites[1].get(path, "Accept-Language: de", `If-None-Match: "v"`); a.StatusCode != 304 {
			t.Fatalf("status %d", a.StatusCode)
		}
	}
	if n := f.calls.Load(); n != 5 {
		t.Fatalf("the origin was asked %d times", n)
	}
	server.AssertEveryKeyExpires(t)
}

func TestWaitersOfAnotherInstanceAreReleasedInParallel(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, redistest.Start(t).URL)
	const clients = 40
	var now, most atomic.Int64
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(200 * time.Millisecond)
		w.Header().Set("Cache-Control", "no-store")
		io.WriteString(w, r.Header.Get("X-User"))
	})
	for i, a := range crowd(t, clients, func(i int) (*answer, error) {
		return f.sites[i%2].try(context.Background(), "GET", "/x", fmt.Sprintf("X-User: u%d", i))
	}) {
		if want := fmt.Sprintf("u%d", i); a.body != want {
			t.Fatalf("%s was answered %q", want, a.body)
		}
	}
	// One after the other, at most one of each instance would be there at once.
	if n := most.Load(); n < 5 {
		t.Fatalf("at most %d requests were at the origin at once", n)
	}
	if n := f.calls.Load(); n != clients {
		t.Fatalf("the origin was asked %d times", n)
	}
}

func TestDeadLeaderDelaysOthersByItsLeaseAtMost(t *testing.T) {
	t.Parallel()
	const lease = 900 * time.Millisecond
	f := newFleet(t, 2, redistest.Start(t).URL, withOptions(func(o *cache.Options) { o.Lease = lease }))
	g := newGate()
	defer g.release()
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		if f.calls.Load() == 1 {
			g.wait()
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "alive")
	})
	leader, leave := context.WithCancel(context.Background())
	defer leave()
	go f.sites[0].try(leader, "GET", "/x")
	<-g.entered
	f.stores[0].Close() // as good as dead: it renews and releases nothing
	// The leader is still at the origin, and would be for ever.
	ctx, cancel := context.WithTimeout(context.Background(), 2*redisPatience)
	defer cancel()
	if a, err := f.sites[1].try(ctx, "GET", "/x"); err != nil || a.body != "alive" {
		t.Fatalf("%v, %+v", err, a)
	}
	if n := f.calls.Load(); n != 2 {
		t.Fatalf("the origin was asked %d times", n)
	}
}

func TestLeaseLastsAsLongAsASlowFetch(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, redistest.Start(t).URL, withOptions(func(o *cache.Options) { o.Lease = 4 * time.Second }))
	entered := make(chan struct{}, 2)
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		time.Sleep(5 * time.Second) // longer than the lease, which is renewed thrice in its time
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "slow")
	})
	go f.sites[0].try(context.Background(), "GET", "/x")
	<-entered
	if a := f.sites[1].get("/x"); a.body != "slow" {
		t.Fatalf("%q", a.body)
	}
	if n := f.calls.Load(); n != 1 {
		t.Fatalf("the origin was asked %d times", n)
	}
}

func TestPurgeIsInForceEverywhereWhenItReturns(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := newFleet(t, 3, server.URL)
	version := new(atomic.Int64)
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Cache-Tag", "products, home")
		fmt.Fprint(w, version.Load())
	})
	purges := map[string]cache.Purge{
		"tag": {Tag: "home"}, "url": {URL: "http://shop.test/a/b?x=1"}, "prefix": {Prefix: "http://shop.test/a"},
		"host": {Prefix: "http://shop.test"}, "all": {All: true}, "soft": {Tag: "products", Soft: true},
	}
	for name, p := range purges {
		for round := range 3 {
			for _, s := range f.sites {
				s.get("/a/b?x=1", "Host: shop.test") // in every local tier
			}
			want := fmt.Sprint(version.Add(1))
			if err := f.sites[round].cache.Purge(context.Background(), p); err != nil {
				t.Fatal(err)
			}
			for i, s := range f.sites {
				if got := s.get("/a/b?x=1", "Host: shop.test"); got.body != want {
					t.Fatalf("%s: instance %d still serves version %s, want %s (%s)", name, i, got.body, want, got.cacheStatus())
				}
			}
		}
	}
	server.AssertEveryKeyExpires(t)
}

func TestSoftPurgeLeavesWhatMayBeServedStale(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, redistest.Start(t).URL)
	f.serves(200, "old", "Cache-Control: max-age=600, stale-while-revalidate=60", "Cache-Tag: a")
	f.sites[0].get("/x")
	eventually(t, "both have it", func() bool { return f.sites[0].get("/x").hit() && f.sites[1].get("/x").hit() })
	g := newGate()
	defer g.release()
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		g.wait()
		w.Header().Set("Cache-Control", "max-age=600")
		io.WriteString(w, "new")
	})
	if err := f.sites[0].cache.Purge(context.Background(), cache.Purge{Tag: "a", Soft: true}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), redisPatience)
	defer cancel()
	for i, s := range f.sites {
		if a, err := s.try(ctx, "GET", "/x"); err != nil || a.body != "old" || !a.hit() {
			t.Fatalf("instance %d: %v, %+v", i, err, a)
		}
	}
	<-g.entered // it is fetched again all the same
	g.release()
	eventually(t, "it is replaced", func() bool { return f.sites[0].get("/x").body == "new" && f.sites[1].get("/x").body == "new" })
}

func TestPurgeLeavesTheRest(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1, redistest.Start(t).URL)
	s := f.sites[0]
	f.serves(200, "x", "Cache-Control: max-age=600", "Surrogate-Key: one two")
	for _, p := range []cache.Purge{{Tag: "three"}, {URL: "http://a.test/x/y"}, {Prefix: "http://a.test/x/yy"}, {Prefix: "http://b.test"}, {URL: "http://a.test/x/yz?q=1"}} {
		s.get("/x/yz", "Host: a.test")
		if err := s.cache.Purge(context.Background(), p); err != nil {
			t.Fatal(err)
		}
		if a := s.get("/x/yz", "Host: a.test"); !a.hit() {
			t.Fatalf("%+v purged /x/yz", p)
		}
	}
}

func TestFetchBegunBeforeAPurgeIsNotServedAfterIt(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, redistest.Start(t).URL)
	g := newGate()
	version := new(atomic.Int64)
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		v := version.Load()
		if v == 0 {
			g.wait()
		}
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Cache-Tag", "t")
		fmt.Fprint(w, v)
	})
	old := make(chan *answer, 1)
	go func() {
		a, _ := f.sites[0].try(context.Background(), "GET", "/x")
		old <- a
	}()
	<-g.entered
	version.Add(1)
	if err := f.sites[1].cache.Purge(context.Background(), cache.Purge{Tag: "t"}); err != nil {
		t.Fatal(err)
	}
	g.release()
	if a := <-old; a == nil || a.body != "0" {
		t.Fatalf("the request from before: %+v", a)
	}
	for _, s := range f.sites {
		if a := s.get("/x"); a.body != "1" {
			t.Fatalf("%q came back after its purge", a.body)
		}
	}
}

func TestFlushedRedisVoidsLocalEntries(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := newFleet(t, 2, server.URL)
	f.serves(200, "x", "Cache-Control: max-age=600")
	for _, s := range f.sites {
		s.get("/x")
	}
	before := f.calls.Load()
	server.FlushAll()
	eventually(t, "the loss is noticed", func() bool {
		f.sites[0].get("/x")
		return f.calls.Load() > before
	})
}

func TestWithoutRedisRequestsGoToTheOriginCollapsed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := newFleet(t, 1, server.URL)
	s := f.sites[0]
	f.serves(200, "x", "Cache-Control: max-age=600")
	s.get("/x")
	if a := s.get("/x"); !a.hit() {
		t.Fatal(a.cacheStatus())
	}
	server.Stop()
	eventually(t, "the local tier's lease ends", func() bool { return !s.get("/x").hit() })

	g := newGate()
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		g.wait()
		w.Header().Set("Cache-Control", "max-age=600")
		io.WriteString(w, "y")
	})
	before := f.calls.Load()
	go func() {
		<-g.entered
		s.awaitWaiting(20)
		g.release()
	}()
	for _, a := range crowd(t, 20, func(int) (*answer, error) { return s.try(context.Background(), "GET", "/other") }) {
		if a.StatusCode != 200 || a.body != "y" {
			t.Fatalf("%d %q", a.StatusCode, a.body)
		}
	}
	if n := f.calls.Load() - before; n != 1 {
		t.Fatalf("the origin was asked %d times", n)
	}
}

func TestPurgeWhileRedisIsAwayIsRepeatedWhenItIsBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	f := newFleet(t, 2, server.URL)
	version := new(atomic.Int64)
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Cache-Tag", "t")
		fmt.Fprint(w, version.Load())
	})
	for _, s := range f.sites {
		s.get("/x")
	}
	server.Pause()
	version.Add(1)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := f.sites[0].cache.Purge(ctx, cache.Purge{Tag: "t"}); err == nil {
		t.Fatal("a purge was confirmed without Redis")
	}
	server.Resume()
	eventually(t, "the purge is in force everywhere", func() bool {
		for _, s := range f.sites {
			if s.get("/x").body != "1" {
				return false
			}
		}
		return true
	})
}

func TestEvictedChunkIsAMiss(t *testing.T) {
	t.Parallel()
	for _, evicted := range []string{":0", ":1", ":2"} { // the last one too
		server := redistest.Start(t)
		f := newFleet(t, 2, server.URL)
		body := strings.Repeat("x", 600_000)
		f.serves(200, body, "Cache-Control: max-age=600")
		f.sites[0].get("/x")
		chunks := func() []string {
			keys, _ := server.Client.Keys(context.Background(), "*:b:*").Result()
			return keys
		}
		eventually(t, "three chunks are stored", func() bool { return len(chunks()) == 3 })
		eventually(t, "the metadata is stored", func() bool {
			keys, _ := server.Client.Keys(context.Background(), "*}:i").Result()
			return len(keys) == 1
		})
		for _, key := range chunks() {
			if strings.HasSuffix(key, evicted) {
				server.Client.Del(context.Background(), key)
			}
		}
		if a := f.sites[1].get("/x"); a.body != body || a.hit() {
			t.Fatalf("%s: %d bytes, %s", evicted, len(a.body), a.cacheStatus())
		}
		if n := f.calls.Load(); n != 2 {
			t.Fatalf("%s: the origin was asked %d times", evicted, n)
		}
	}
}

func TestRedisTierComparesTheTextOfTheKey(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := newFleet(t, 3, server.URL)
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("X-Path", r.URL.Path)
	})
	indexOf := func(path string, besides string) (index string) {
		f.sites[0].get(path)
		eventually(t, "the metadata is stored", func() bool {
			keys, _ := server.Client.Keys(context.Background(), "*}:i").Result()
			for _, k := range keys {
				if k != besides {
					index = k
				}
			}
			return index != ""
		})
		return index
	}
	a := indexOf("/a", "")
	b := indexOf("/b", a)
	// As if the keys had one hash.
	if n, err := server.Client.Copy(context.Background(), a, b, 0, true).Result(); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if got := f.sites[1].get("/a"); !got.hit() || got.Header.Get("X-Path") != "/a" {
		t.Fatalf("%s", got.cacheStatus())
	}
	if got := f.sites[2].get("/b"); got.Header.Get("X-Path") != "/b" {
		t.Errorf("/b was answered with %s", got.Header.Get("X-Path"))
	}
}

func TestFleetWorksOnACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	f := newFleet(t, 2, cluster.URL)
	version := new(atomic.Int64)
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		fmt.Fprintf(w, "%s %d %s", r.URL.Path, version.Load(), strings.Repeat("x", 300_000))
	})
	for i := range 12 {
		path := fmt.Sprintf("/%d", i)
		f.sites[0].get(path)
		eventually(t, "it is in Redis", func() bool {
			return f.sites[1].do("GET", path, "Cache-Control: only-if-cached").StatusCode == 200
		})
	}
	if n := f.calls.Load(); n != 12 {
		t.Fatalf("the origin was asked %d times", n)
	}
	version.Add(1)
	if err := f.sites[1].cache.Purge(context.Background(), cache.Purge{All: true}); err != nil {
		t.Fatal(err)
	}
	if a := f.sites[0].get("/3"); !strings.HasPrefix(a.body, "/3 1 ") {
		t.Fatalf("%.10q", a.body)
	}
	cluster.AssertEveryKeyExpires(t)
}

func TestStaleWhileRevalidateRefreshesOnceForTheFleet(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, redistest.Start(t).URL)
	f.serves(200, "old", "Cache-Control: max-age=10, stale-while-revalidate=60")
	f.sites[0].get("/x")
	eventually(t, "it is in both", func() bool {
		return f.sites[1].do("GET", "/x", "Cache-Control: only-if-cached").StatusCode == 200
	})
	f.sites[0].clock.step(15 * time.Second)
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(100 * time.Millisecond)
		w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=60")
		io.WriteString(w, "new")
	})
	for _, a := range crowd(t, 40, func(i int) (*answer, error) { return f.sites[i%2].try(context.Background(), "GET", "/x") }) {
		if !a.hit() {
			t.Fatalf("%q, %s", a.body, a.cacheStatus())
		}
	}
	for _, s := range f.sites {
		eventually(t, "the new one is served", func() bool { return s.get("/x").body == "new" })
	}
	if n := f.calls.Load(); n != 2 {
		t.Fatalf("the origin was asked %d times", n)
	}
}

// A background refresh is left to the instance that is at it: nothing waits
// for it, and a flight that did would be one more for each instance.
func TestRefreshIsLeftToTheInstanceThatHoldsItsLease(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, redistest.Start(t).URL)
	f.serves(200, "old", "Cache-Control: max-age=10, stale-while-revalidate=60")
	f.sites[0].get("/x")
	eventually(t, "it is in both", func() bool {
		return f.sites[1].do("GET", "/x", "Cache-Control: only-if-cached").StatusCode == 200
	})
	f.sites[0].clock.step(15 * time.Second)
	g := newGate()
	defer g.release()
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		g.wait()
		w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=60")
		io.WriteString(w, "new")
	})
	f.sites[0].get("/x")
	<-g.entered // the first instance refreshes it
	if a := f.sites[1].get("/x"); a.body != "old" || !a.hit() {
		t.Fatalf("%q, %s", a.body, a.cacheStatus())
	}
	// The other one has begun a refresh by now, and gives it up at once.
	eventually(t, "the other instance leaves it alone", func() bool { return f.sites[1].cache.Stats().Fetches == 0 })
	if n := f.calls.Load(); n != 2 {
		t.Fatalf("the origin was asked %d times", n)
	}
	if n := f.sites[0].cache.Stats().Fetches; n != 1 {
		t.Fatalf("the first instance has %d fetches under way", n)
	}
}

// A HEAD, a range or a condition is forwarded as it was sent where nothing is known; while another instance fetches the whole, it waits for that.
func TestPartsAreTakenFromWhatAnotherInstanceFetches(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		method, field string
		status        int
		body          string
	}{
		"range":     {"GET", "Range: bytes=2-4", 206, "234"},
		"condition": {"GET", `If-None-Match: "v"`, 304, ""},
		"head":      {"HEAD", "X: y", 200, ""},
		"no-store":  {"GET", "Cache-Control: no-store", 200, "0123456789"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			f := newFleet(t, 2, server.URL)
			g := newGate()
			defer g.release()
			f.respond(func(w http.ResponseWriter, r *http.Request) {
				if f.calls.Load() == 1 {
					g.wait()
				}
				w.Header().Set("Cache-Control", "max-age=60")
				w.Header().Set("Etag", `"v"`)
				io.WriteString(w, "0123456789")
			})
			whole := make(chan struct{})
			go func() {
				defer close(whole)
				f.sites[0].get("/" + name)
			}()
			<-g.entered
			part := make(chan *answer, 1)
			go func() { part <- f.sites[1].do(tc.method, "/"+name, tc.field) }()
			eventually(t, "the other instance waits, or asks the origin", func() bool {
				keys, err := server.Client.Keys(context.Background(), "*:w").Result()
				return err == nil && len(keys) > 0 || f.calls.Load() > 1
			})
			g.release()
			if a := <-part; a.StatusCode != tc.status || a.body != tc.body || !a.hit() {
				t.Errorf("%d %q, %s", a.StatusCode, a.body, a.cacheStatus())
			}
			<-whole
			if n := f.calls.Load(); n != 1 {
				t.Errorf("the origin was asked %d times", n)
			}
		})
	}
}

// Redis may take longer for what is stored than a request waits for it: no request waits for that.
func TestAnEntryReachesASlowRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	open := func() *store.Redis {
		r, err := store.Open(store.Options{URL: server.URL, Timeout: 100 * time.Millisecond, WriteTimeout: redisPatience})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
	slow := open()
	s := newSite(t, withOptions(func(o *cache.Options) { o.Redis = slow }))
	eventually(t, "Redis answers", func() bool {
		return s.do("GET", "/other", "Cache-Control: only-if-cached").StatusCode == 504 && slow.Available()
	})
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "body")
		if r.URL.Path == "/x" {
			server.Pause()
		}
	})
	s.get("/x")
	time.Sleep(150 * time.Millisecond) // longer than a request waits
	server.Resume()
	eventually(t, "it is in Redis", func() bool {
		keys, err := server.Client.Keys(context.Background(), "*}:i").Result()
		return err == nil && len(keys) == 1
	})
}
