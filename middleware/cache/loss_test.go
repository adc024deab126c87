package cache_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/cache"
)

// counting answers with a version, which only purges may make visible.
func counting(version *atomic.Int64) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Cache-Tag", "t, "+r.URL.Path[1:])
		fmt.Fprint(w, version.Load())
	}
}

// A server that comes back may have lost its newest writes: those could have
// been purges.
func TestRestartedRedisVoidsWhatIsStored(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"empty": nil, "with its data": {"--appendonly", "yes", "--appendfsync", "always"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, args...)
			f := newFleet(t, 2, server.URL)
			version := new(atomic.Int64)
			f.respond(counting(version))
			for _, s := range f.sites {
				s.get("/x")
			}
			version.Add(1)
			server.Kill()
			server.Restart()
			for _, s := range f.sites {
				eventually(t, "nothing from before is served", func() bool { return s.get("/x").body == "1" })
			}
			eventually(t, "the tiers work again", func() bool { return f.sites[0].get("/x").hit() && f.sites[1].get("/x").hit() })
		})
	}
}

func TestFailoverVoidsWhatIsStored(t *testing.T) {
	t.Parallel()
	sentinel := redistest.StartSentinel(t)
	f := newFleet(t, 1, sentinel.URL)
	s := f.sites[0]
	version := new(atomic.Int64)
	f.respond(counting(version))
	eventually(t, "the tiers work", func() bool { return s.get("/x").hit() })
	version.Add(1)
	sentinel.Current(t).Kill()
	deadline := time.Now().Add(30 * time.Second)
	for s.get("/x").body != "1" {
		if time.Now().After(deadline) {
			t.Fatal("the entry from before the failover is still served")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestNothingPurgedIsServedUnderLoad has readers and a purger at work at the
// same time: a request that begins after a purge was confirmed must see it.
func TestNothingPurgedIsServedUnderLoad(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, redistest.Start(t).URL)
	version := new(atomic.Int64)
	f.respond(counting(version))
	confirmed := new(atomic.Int64)
	ctx, stop := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	var hits, total atomic.Int64
	for i := range 12 {
		readers.Go(func() {
			for ctx.Err() == nil {
				least := confirmed.Load()
				a, err := f.sites[i%3].try(ctx, "GET", "/p"+strconv.Itoa(i%2))
				if err != nil {
					continue
				}
				total.Add(1)
				if a.hit() {
					hits.Add(1)
				}
				if got, _ := strconv.ParseInt(strings.TrimSpace(a.body), 10, 64); got < least {
					t.Errorf("version %d after %d was purged in (%s)", got, least, a.cacheStatus())
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	purges := []cache.Purge{{Tag: "t"}, {All: true}, {Prefix: "http://shop.test/"}, {Tag: "t", Soft: true}}
	for i := range 40 {
		next := version.Add(1)
		if err := f.sites[i%3].cache.Purge(context.Background(), purges[i%len(purges)]); err != nil {
			t.Errorf("purge: %v", err)
		}
		confirmed.Store(next)
		time.Sleep(20 * time.Millisecond)
	}
	stop()
	readers.Wait()
	if hits.Load() == 0 {
		t.Fatalf("none of %d requests was a hit: this has tested nothing", total.Load())
	}
}

func TestTrimmedPurgeLogVoidsWhatIsOlder(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := newFleet(t, 2, server.URL)
	version := new(atomic.Int64)
	f.respond(counting(version))
	for _, s := range f.sites {
		s.get("/x")
	}
	// More purges than the log keeps, of other tags.
	const batch = 1000
	names := make([]string, batch)
	for i := range 70 {
		for j := range names {
			names[j] = fmt.Sprintf("other-%d-%d", i, j)
		}
		if err := f.sites[0].cache.PurgeTags(context.Background(), names...); err != nil {
			t.Fatal(err)
		}
	}
	version.Add(1)
	for i, s := range f.sites {
		if a := s.get("/x"); a.body != "1" {
			t.Fatalf("instance %d believes an entry from before the log's floor", i)
		}
		if n := s.cache.Stats().PurgeLog; n > 1<<16 {
			t.Fatalf("instance %d keeps %d tags", i, n)
		}
	}
}
