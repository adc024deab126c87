package cache_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/cache"
)

// used is what Redis says that its data takes, in bytes.
func used(t testing.TB, server *redistest.Server) int64 {
	t.Helper()
	for line := range strings.Lines(server.Client.Info(t.Context(), "memory").Val()) {
		if value, ok := strings.CutPrefix(line, "used_memory:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("Redis does not say what it takes")
	return 0
}

// What is counted is within a fifth of what Redis' memory has grown by.
func TestAccountIsWhatRedisTakes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ size, entries int }{{0, 2000}, {100, 2000}, {1 << 10, 2000}, {10_000, 1000}, {70_000, 200}, {256 << 10, 60}, {1 << 20, 30}} {
		t.Run(fmt.Sprint(tc.size), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			f := newFleet(t, 1, server.URL, withRule(cache.Rule{MaxBody: 4 << 20}))
			s := f.sites[0]
			s.serves(200, strings.Repeat("x", tc.size), "Cache-Control: max-age=3600", "Content-Type: text/html; charset=utf-8", `ETag: "abcdef"`)
			s.get("/warm")
			eventually(t, "an entry is in Redis", func() bool { return s.cache.Stats().RedisBytes > 0 })
			memory, counted := used(t, server), s.cache.Stats().RedisBytes
			for i := range tc.entries {
				s.get(fmt.Sprintf("/products/%d/1", i))
			}
			var grown float64
			eventually(t, "everything is in Redis", func() bool {
				chunks := (tc.size + 256<<10 - 1) / (256 << 10)
				return server.Client.DBSize(t.Context()).Val() >= int64(tc.entries*(1+chunks)) && s.cache.Stats().Fetches == 0
			})
			grown, took := float64(used(t, server)-memory), float64(s.cache.Stats().RedisBytes-counted)
			t.Logf("bodies of %d: Redis has grown by %.0f for each, %.0f were counted: %.0f %%", tc.size, grown/float64(tc.entries), took/float64(tc.entries), 100*took/grown)
			if took < 0.8*grown || took > 1.2*grown {
				t.Errorf("%.0f bytes were counted, and Redis has grown by %.0f", took, grown)
			}
		})
	}
}

// counted is the sum of what the keys of the cache take, by the lengths that
// Redis tells now.
func counted(t testing.TB, client redis.UniversalClient) (sum int64) {
	t.Helper()
	ctx := t.Context()
	keys, err := client.Keys(ctx, "headgate:cache:{*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		_, rest, _ := strings.Cut(key, "}:")
		name := strings.SplitN(rest, ":", 3)
		switch {
		case name[0] == "i":
			fields, err := client.HGetAll(ctx, key).Result()
			if err != nil {
				t.Fatal(err)
			}
			var bytes int64
			for _, value := range fields {
				bytes += int64(len(value))
			}
			sum += cache.IndexCost(int64(len(fields))-1, bytes, len(key))
		case name[0] == "b":
			sum += cache.BodyCost(client.StrLen(ctx, key).Val(), len(key)-len(name[1])-len(name[2])-1)
		}
	}
	return sum
}

// Whatever happens to entries (stored, replaced by another body, by another
// variant, validated, invalidated, dropped for the 33rd variant, removed because
// a chunk is gone), the account comes to what is there.
func TestAccountFollowsEveryChange(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := newFleet(t, 2, server.URL, withRule(cache.Rule{MaxBody: 2 << 20}))
	random := rand.New(rand.NewPCG(1, 2))
	var version, size atomic.Int64
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3000, stale-if-error=600")
		w.Header().Set("Vary", "Accept-Language")
		etag := fmt.Sprintf(`"%d"`, version.Load())
		w.Header().Set("ETag", etag)
		switch {
		case r.Header.Get("If-None-Match") == etag && r.Method != "POST":
			w.WriteHeader(304)
		case r.Method != "POST":
			io.WriteString(w, strings.Repeat("x", int(size.Load())))
		}
	})
	for range 300 {
		s := f.sites[random.IntN(2)]
		size.Store([]int64{0, 10, 3000, 300_000}[random.IntN(4)])
		path := fmt.Sprintf("/p%d", random.IntN(4))
		switch random.IntN(12) {
		case 0:
			s.do("POST", path)
		case 1:
			version.Add(1)
		case 2: // stale: it is validated, or replaced
			s.clock.step(time.Duration(500+random.IntN(2500)) * time.Second)
		case 3:
			if err := s.cache.Purge(t.Context(), cache.Purge{URL: "http://shop.test" + path, Soft: random.IntN(2) == 0}); err != nil {
				t.Fatal(err)
			}
		default:
			s.get(path, fmt.Sprintf("Accept-Language: %d", random.IntN(40)))
		}
	}
	var told, there int64
	eventually(t, "replaced bodies are gone, and the account is what is there", func() bool {
		// Each instance knows what it has stored itself at once, and of the others by reports.
		told, there = f.sites[0].cache.Stats().RedisBytes, counted(t, server.Client)
		return there > 500_000 && told > there*99/100 && told < there*101/100
	})
	t.Logf("%d bytes are counted, %d are there", told, there)
	server.AssertEveryKeyExpires(t)
}

// What is beyond the budget is kept by the instance that fetched it, and counted.
func TestBeyondTheBudgetTheLocalTierKeepsAnswers(t *testing.T) {
	t.Parallel()
	const budget = 1 << 20
	server := redistest.Start(t)
	var refused atomic.Int64
	f := newFleet(t, 2, server.URL, withOptions(func(o *cache.Options) {
		o.RedisBytes = budget
		o.Observer = unshared{count: &refused}
	}))
	f.serves(200, strings.Repeat("x", 50_000), "Cache-Control: max-age=3600")
	for i := range 60 {
		f.sites[i%2].get(fmt.Sprintf("/%d", i))
	}
	eventually(t, "some were refused, all others are in Redis", func() bool {
		stored := int64(0)
		for _, key := range server.Client.Keys(t.Context(), "headgate:cache:{*").Val() {
			if strings.HasSuffix(key, "}:i") {
				stored++
			}
		}
		return refused.Load() > 0 && stored+refused.Load() == 60
	})
	if n := counted(t, server.Client); n > budget || n < budget*3/4 {
		t.Errorf("Redis holds %d bytes, the budget is %d", n, budget)
	}
	for i := range 60 {
		if a := f.sites[i%2].get(fmt.Sprintf("/%d", i)); !a.hit() {
			t.Errorf("%d: %s", i, a.cacheStatus())
		}
	}
	if st := f.sites[1].cache.Stats(); st.RedisLimit != budget || st.RedisBytes > budget {
		t.Errorf("%+v", st)
	}
}

type unshared struct {
	cache.NopObserver
	count *atomic.Int64
}

func (u unshared) NotStored(_, reason string) {
	if reason == "over-cache-bytes" {
		u.count.Add(1)
	}
}

// A budget that purged answers use up does not keep their pages out of Redis
// until these expire: each page may have the room of what it replaces.
func TestPageTakesTheRoomOfWhatItReplaces(t *testing.T) {
	t.Parallel()
	const budget = 1 << 20
	server := redistest.Start(t)
	var refused atomic.Int64
	f := newFleet(t, 2, server.URL, withOptions(func(o *cache.Options) {
		o.RedisBytes = budget
		o.Observer = unshared{count: &refused}
	}))
	var version atomic.Int64
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		io.WriteString(w, strings.Repeat(strconv.FormatInt(version.Load(), 10), 60_000))
	})
	f.sites[0].get("/hot")
	eventually(t, "the page is in Redis", func() bool { return counted(t, server.Client) > 60_000 })
	for i := 0; refused.Load() < 5; i++ {
		f.sites[0].get(fmt.Sprintf("/%d", i))
	}
	version.Add(1)
	if err := f.sites[0].cache.Purge(t.Context(), cache.Purge{All: true}); err != nil {
		t.Fatal(err)
	}
	before := refused.Load()
	f.sites[0].get("/hot")
	eventually(t, "the other instance finds the new page in Redis", func() bool {
		a := f.sites[1].get("/hot", "Cache-Control: only-if-cached")
		return a.StatusCode == 200 && strings.HasPrefix(a.body, "1")
	})
	if refused.Load() != before {
		t.Error("the page was refused")
	}
	if n := counted(t, server.Client); n > budget {
		t.Errorf("Redis holds %d bytes, the budget is %d", n, budget)
	}
}

// In a Cluster the budget is for all masters together.
func TestBudgetOfACluster(t *testing.T) {
	t.Parallel()
	const budget = 2 << 20
	cluster := redistest.StartCluster(t)
	var refused atomic.Int64
	f := newFleet(t, 2, cluster.URL, withOptions(func(o *cache.Options) {
		o.RedisBytes = budget
		o.Observer = unshared{count: &refused}
	}))
	f.serves(200, strings.Repeat("x", 30_000), "Cache-Control: max-age=3600")
	for i := 0; i < 60 || refused.Load() == 0; i++ {
		f.sites[i%2].get(fmt.Sprintf("/%d", i))
	}
	var sum int64
	for _, node := range cluster.Nodes {
		n := counted(t, node.Client)
		if n == 0 {
			t.Errorf("%s holds nothing", node.Addr)
		}
		sum += n
	}
	if sum > budget || sum < budget*3/4 {
		t.Errorf("the masters hold %d bytes, the budget is %d", sum, budget)
	}
	cluster.AssertEveryKeyExpires(t)
	if err := f.sites[0].cache.Purge(context.Background(), cache.Purge{All: true}); err != nil {
		t.Fatal(err)
	}
	if a := f.sites[1].get("/0"); a.hit() {
		t.Error(a.cacheStatus())
	}
}
