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

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/cache"
)

// Each test here is a defect that a hostile reading of the package found, and
// that was mended: its comment says what went wrong.

// A 304 freshened, with the variant that it was about, all others of the same
// strong ETag, also those of which this instance had read nothing but the
// metadata: the local tier then answered with their Content-Length and no
// body.
func TestNotModifiedUpdatesVariantsThatThisInstanceHasNoBodyOf(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, redistest.Start(t).URL)
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=10")
		w.Header().Set("Vary", "Accept-Language")
		w.Header().Set("Etag", `"same"`)
		if r.Header.Get("If-None-Match") == `"same"` {
			w.WriteHeader(304)
			return
		}
		io.WriteString(w, "in "+r.Header.Get("Accept-Language"))
	})
	for _, lang := range []string{"Accept-Language: de", "Accept-Language: en"} {
		f.sites[0].get("/x", lang)
		eventually(t, "the entry is in Redis", func() bool {
			return f.sites[2].do("GET", "/x", lang, "Cache-Control: only-if-cached").StatusCode == 200
		})
	}
	f.sites[0].clock.step(20 * time.Second)
	if a := f.sites[1].get("/x", "Accept-Language: de"); a.body != "in de" {
		t.Fatalf("%q %s", a.body, a.cacheStatus())
	}
	a, err := f.sites[1].try(context.Background(), "GET", "/x", "Accept-Language: en")
	if err != nil || a.err != nil || a.body != "in en" {
		t.Errorf("%v %+v", err, a)
	}
}

// The freshened variants were stamped anew, those too that a purge had voided.
func TestNotModifiedOfOneVariantDoesNotReviveAPurgedOne(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		lang := r.Header.Get("Accept-Language")
		w.Header().Set("Cache-Control", "max-age=10")
		w.Header().Set("Vary", "Accept-Language")
		w.Header().Set("Etag", `"same"`)
		w.Header().Set("Cache-Tag", lang)
		if r.Header.Get("If-None-Match") == `"same"` {
			w.WriteHeader(304)
			return
		}
		io.WriteString(w, "in "+lang)
	})
	s.get("/x", "Accept-Language: de")
	s.get("/x", "Accept-Language: en")
	if err := s.cache.Purge(context.Background(), cache.Purge{Tag: "en"}); err != nil {
		t.Fatal(err)
	}
	s.cache.WaitForFetches()
	s.clock.step(20 * time.Second)
	s.get("/x", "Accept-Language: de") // validates
	if a := s.get("/x", "Accept-Language: en"); a.hit() {
		t.Errorf("revived: %s", a.cacheStatus())
	}
}

// What a fetch had found before it waited for another instance's lease was
// validated although it had been purged meanwhile, and the 304 gave it a stamp
// from after the purge.
func TestWhatIsPurgedWhileItsValidationWaitsIsNotValidated(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, redistest.Start(t).URL)
	var filled atomic.Bool
	g := newGate()
	current := func(w http.ResponseWriter) {
		w.Header().Set("Cache-Control", "max-age=10")
		w.Header().Set("Etag", `"v"`)
		w.Header().Set("Cache-Tag", "t")
	}
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		if !filled.Load() {
			current(w)
			io.WriteString(w, "old")
			return
		}
		if f.calls.Load() == 2 {
			g.wait()
			w.WriteHeader(500)
			return
		}
		current(w)
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(304)
			return
		}
		io.WriteString(w, "new")
	})
	f.sites[0].get("/x")
	eventually(t, "the entry is in Redis", func() bool {
		return f.sites[1].do("GET", "/x", "Cache-Control: only-if-cached").StatusCode == 200
	})
	filled.Store(true)
	f.sites[0].clock.step(20 * time.Second)
	go f.sites[0].try(context.Background(), "GET", "/x")
	<-g.entered
	go f.sites[1].try(context.Background(), "GET", "/x")
	time.Sleep(300 * time.Millisecond) // it waits for the lease
	if err := f.sites[0].cache.Purge(context.Background(), cache.Purge{Tag: "t"}); err != nil {
		t.Fatal(err)
	}
	g.release()
	time.Sleep(300 * time.Millisecond)
	if a := f.sites[1].get("/x"); a.body != "new" {
		t.Errorf("%q %s", a.body, a.cacheStatus())
	}
}

// A purge of as many tags as a page of the log holds made every instance read
// that page for ever, with its Redis busy and its local tier locked: 4096
// names in a Cache-Group-Invalidation were enough.
func TestAPurgeOfVeryManyTagsEnds(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, redistest.Start(t).URL)
	f.serves(200, "x", "Cache-Control: max-age=60", "Cache-Tag: tag-7")
	f.sites[0].get("/x")
	tags := make([]string, 5000)
	for i := range tags {
		tags[i] = fmt.Sprintf("tag-%d", i)
	}
	ctx, cancel := context.WithTimeout(context.Background(), redisPatience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f.sites[0].cache.PurgeTags(ctx, tags...) }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * redisPatience):
		t.Error("the purge does not end")
	}
	a, err := f.sites[1].try(ctx, "GET", "/x")
	if err != nil || a.hit() {
		t.Errorf("%v %+v", err, a)
	}
}

// The lease on a fetch was held, and renewed with every byte, for a body that
// had already outgrown max_body: other instances waited until its slowest
// client had all of it, and then one took the lease after the other.
func TestABodyThatOutgrowsItsLimitHoldsUpNoOtherInstance(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, redistest.Start(t).URL, withRule(cache.Rule{MaxBody: 64 << 10}),
		withOptions(func(o *cache.Options) { o.Lease = 600 * time.Millisecond }))
	stop := make(chan struct{})
	defer close(stop)
	began := make(chan struct{}, 64)
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		for i := 0; ; i++ { // it never ends: only the end of the lease lets the other instance in
			if _, err := w.Write(make([]byte, 16<<10)); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			if i == 8 {
				began <- struct{}{}
			}
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	go f.sites[0].try(context.Background(), "GET", "/big")
	<-began
	ctx, cancel := context.WithTimeout(context.Background(), redisPatience)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", f.sites[1].server.URL+"/big", nil)
	req.Host = "shop.test"
	res, err := f.sites[1].client.Do(req)
	if err != nil {
		t.Fatalf("the other instance is held up: %v", err)
	}
	res.Body.Close()
}

// Nor does one that never ends, such as an event stream under a rule with a
// TTL: no other instance ever got its first byte.
func TestASlowBodyHoldsUpNoOtherInstance(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, redistest.Start(t).URL, withRule(cache.Rule{TTL: time.Minute}),
		withOptions(func(o *cache.Options) { o.Lease = 600 * time.Millisecond }))
	stop := make(chan struct{})
	defer close(stop)
	began := make(chan struct{}, 64)
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; ; i++ {
			io.WriteString(w, "data: tick\n\n")
			w.(http.Flusher).Flush()
			if i == 1 {
				began <- struct{}{}
			}
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	go f.sites[0].try(context.Background(), "GET", "/events")
	<-began
	ctx, cancel := context.WithTimeout(context.Background(), redisPatience)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", f.sites[1].server.URL+"/events", nil)
	req.Host = "shop.test"
	res, err := f.sites[1].client.Do(req)
	if err != nil {
		t.Fatalf("the other instance is held up: %v", err)
	}
	res.Body.Close()
}

// A request with no-store led the fetch that others waited for. Two of them at
// a time kept a key uncached (hit for miss) for everybody.
func TestANoStoreClientSendsNobodyElseToTheOrigin(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	g := newGate()
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		g.wait()
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "top")
	})
	go s.try(context.Background(), "GET", "/top", "Cache-Control: no-store")
	<-g.entered
	done := make(chan struct{})
	go func() {
		defer close(done)
		crowd(t, 40, func(int) (*answer, error) { return s.try(context.Background(), "GET", "/top") })
	}()
	time.Sleep(200 * time.Millisecond)
	g.release()
	<-done
	if n := s.calls.Load(); n > 2 {
		t.Errorf("the origin was asked %d times", n)
	}
	s.get("/top")
	if a := s.get("/top"); !a.hit() {
		t.Errorf("not stored: %s", a.cacheStatus())
	}
}

// The refresh that such a request caused was not stored, and what it was to
// replace was removed.
func TestANoStoreClientTakesAwayNothingThatIsStored(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.serves(200, "x", "Cache-Control: max-age=10, stale-while-revalidate=100")
	s.get("/x")
	s.cache.WaitForFetches()
	s.clock.step(20 * time.Second)
	if a := s.get("/x", "Cache-Control: no-store"); !a.hit() {
		t.Fatal(a.cacheStatus())
	}
	s.cache.WaitForFetches()
	if a := s.get("/x"); !a.hit() {
		t.Errorf("gone: %s", a.cacheStatus())
	}
}

// Nor does its own answer say anything against what is stored for others.
func TestANoStoreClientDoesNotTakeAwayWhatStandsIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.serves(200, "x", "Cache-Control: max-age=10, stale-if-error=100")
	s.get("/x")
	s.cache.WaitForFetches()
	s.clock.step(20 * time.Second)
	s.get("/x", "Cache-Control: no-store")
	s.cache.WaitForFetches()
	s.serves(500, "broken")
	if a := s.get("/x"); a.StatusCode != 200 {
		t.Errorf("gone: %d %s", a.StatusCode, a.cacheStatus())
	}
}

// After a first 304, the whole was fetched for every conditional request of
// the next minute, also where it can't be stored: whoever had the page was
// sent all of it again.
func TestConditionalRequestsForWhatIsNotStoredStayConditional(t *testing.T) {
	t.Parallel()
	for _, control := range []string{"private", "no-store", "max-age=60"} {
		s := newSite(t, withRule(cache.Rule{MaxBody: 10}))
		s.respond(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", control)
			w.Header().Set("Etag", `"v"`)
			if r.Header.Get("If-None-Match") == `"v"` {
				w.WriteHeader(304)
				return
			}
			io.WriteString(w, "twenty bytes of body")
		})
		var statuses []int
		for range 6 {
			statuses = append(statuses, s.get("/x", `If-None-Match: "v"`).StatusCode)
		}
		whole := 0
		for _, c := range statuses {
			if c == 200 {
				whole++
			}
		}
		if whole > 1 {
			t.Errorf("%s: %v", control, statuses)
		}
	}
}

// And every HEAD but the first became a GET.
func TestHeadOfWhatIsNotStoredStaysAHead(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var gets atomic.Int64
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			gets.Add(1)
		}
		w.Header().Set("Cache-Control", "no-store")
	})
	for range 6 {
		s.do("HEAD", "/x")
	}
	if n := gets.Load(); n > 1 {
		t.Errorf("%d GETs", n)
	}
}

// A Date more than 292 years ago is as long ago as a Duration holds: the age
// of such an answer overflowed, and made it fresh with a negative Age.
func TestADateLongPastMakesNothingFresh(t *testing.T) {
	t.Parallel()
	for _, date := range []string{"Mon, 01 Jan 0001 00:00:00 GMT", "Fri, 01 Jan 1600 00:00:00 GMT"} {
		s := newSite(t)
		s.serves(200, "x", "Cache-Control: max-age=60", `ETag: "v"`, "Date: "+date)
		s.get("/x")
		for range 4 {
			s.cache.WaitForFetches()
			s.clock.step(100 * time.Second)
			if a := s.get("/x"); a.hit() || strings.HasPrefix(a.Header.Get("Age"), "-") {
				t.Errorf("Date %s: %s, Age %s", date, a.cacheStatus(), a.Header.Get("Age"))
			}
		}
	}
}

// The selecting fields as clients had sent them did not count as bytes of the
// local tier, though they take several KiB each where the client wants them
// to.
func TestSelectingFieldsCountInTheLocalTier(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.serves(200, "x", "Cache-Control: max-age=60", "Vary: Accept-Language")
	const size = 4000
	for i := range 20 {
		s.get(fmt.Sprintf("/%d", i), "Accept-Language: de,"+strings.Repeat(" ", size)+",en")
	}
	eventually(t, "they are counted", func() bool {
		st := s.cache.Stats()
		return st.LocalEntries == 20 && st.LocalBytes >= 20*size
	})
}

// With a Vary on a field that clients make as long as a header may be, 32
// variants of a megabyte each were read from Redis at every miss of the
// resource.
func TestHugeSelectingFieldsAreNotStored(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.serves(200, "x", "Cache-Control: max-age=60", "Vary: User-Agent")
	long := "User-Agent: " + strings.Repeat("x", 200_000)
	s.get("/x", long)
	if a := s.get("/x", long); a.hit() || !strings.Contains(a.cacheStatus(), "detail=header-too-large") {
		t.Error(a.cacheStatus())
	}
}

// The key held the filtered query, not the filter: after a reload that put
// lang into the key, what had been stored for any lang answered requests
// without one. And what was stored before the rule had a tag was not purged by
// it.
func TestARuleThatIsEditedStartsClean(t *testing.T) {
	t.Parallel()
	s := newSite(t, withRule(cache.Rule{Query: []string{"id"}}))
	s.serves(200, "german", "Cache-Control: max-age=60")
	s.get("/x?id=1&lang=de")
	s.serves(200, "default", "Cache-Control: max-age=60")
	for what, edited := range map[string]cache.Rule{
		"query": {Name: "test", Query: []string{"id", "lang"}},
		"tags":  {Name: "test", Query: []string{"id"}, Tags: []string{"products"}},
	} {
		reloaded := s.cache.Middleware(edited, cache.MiddlewareOptions{})
		s.front = func(echo.HandlerFunc) echo.HandlerFunc { return reloaded(s.origin) }
		if a := s.get("/x?id=1"); a.body != "default" {
			t.Errorf("%s: %q", what, a.body)
		}
	}
}

// An instance that had the stale entry in Redis and not in its local tier made
// its client wait for the origin, or for another instance's lease on the
// refresh.
func TestStaleWhileRevalidateHoldsForWhatRedisHas(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, redistest.Start(t).URL)
	f.serves(200, "one", "Cache-Control: max-age=10, stale-while-revalidate=600")
	f.sites[0].get("/x")
	eventually(t, "the entry is in Redis", func() bool {
		return f.sites[2].do("GET", "/x", "Cache-Control: only-if-cached").StatusCode == 200
	})
	f.sites[0].clock.step(20 * time.Second)
	g := newGate()
	defer g.release()
	f.respond(func(w http.ResponseWriter, r *http.Request) {
		g.wait()
		w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=600")
		io.WriteString(w, "two")
	})
	ctx, cancel := context.WithTimeout(context.Background(), redisPatience)
	defer cancel()
	a, err := f.sites[1].try(ctx, "GET", "/x")
	if err != nil || a.body != "one" {
		t.Errorf("%v %+v", err, a)
	}
}

// Trailers went to all who waited for the answer, though no check of what may
// be shared sees them: a Set-Cookie there was everybody's.
func TestTrailersAreForTheOneWhoAsked(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	g := newGate()
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Trailer", "Set-Cookie, X-User")
		io.WriteString(w, "x")
		w.(http.Flusher).Flush()
		g.wait()
		w.Header().Set("Set-Cookie", "id=1")
		w.Header().Set("X-User", "me")
	})
	go s.try(context.Background(), "GET", "/x")
	<-g.entered
	var got *answer
	done := make(chan struct{})
	go func() { defer close(done); got, _ = s.try(context.Background(), "GET", "/x") }()
	time.Sleep(200 * time.Millisecond)
	g.release()
	<-done
	if len(got.Trailer) > 0 {
		t.Errorf("%v %s", got.Trailer, got.cacheStatus())
	}
}

// Hit for miss went around the cache, so that nothing was stored for its five
// seconds: two requests at a time that the origin refuses were enough to send
// everybody else there, one by one.
func TestHitForMissEndsWhenAnAnswerCanBeShared(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(100 * time.Millisecond)
		if r.Header.Get("X-Refused") != "" {
			w.WriteHeader(400)
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
	})
	crowd(t, 10, func(int) (*answer, error) { return s.try(context.Background(), "GET", "/x", "X-Refused: 1") })
	s.get("/x")
	s.cache.WaitForFetches()
	if a := s.get("/x"); !a.hit() {
		t.Error(a.cacheStatus())
	}
}

// A 206 came with the Content-Digest of the 200, which is of other bytes.
func TestAPartDoesNotCarryTheDigestOfTheWhole(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.serves(200, "0123456789", "Cache-Control: max-age=60", "Content-Digest: sha-256=:AAAA:")
	s.get("/x")
	if a := s.get("/x", "Range: bytes=0-3"); a.StatusCode != 206 || a.Header.Get("Content-Digest") != "" {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
}

// The list of live instances was evicted, and written anew by whoever purged:
// the purge was confirmed without those that had not been heard of since,
// while their leases ran.
func TestAPurgeWaitsForInstancesOfALostList(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := newFleet(t, 2, server.URL)
	f.serves(200, "x", "Cache-Control: max-age=600")
	f.sites[1].get("/x")
	eventually(t, "both follow the log", func() bool { return f.sites[1].get("/x").hit() && f.sites[0].get("/x").hit() })
	ctx := context.Background()
	list := f.stores[0].Key("cache", "{purge}", "instances")
	f.stores[1].Close()                                        // the other instance hears nothing from here on
	if err := server.Client.Del(ctx, list).Err(); err != nil { // evicted
		t.Fatal(err)
	}
	eventually(t, "the list is written again", func() bool { return server.Client.Exists(ctx, list).Val() == 1 })
	if err := f.sites[0].cache.Purge(ctx, cache.Purge{URL: "http://shop.test/x"}); err != nil {
		t.Fatal(err)
	}
	if a := f.sites[1].get("/x"); a.hit() {
		t.Errorf("purged, and served: %s", a.cacheStatus())
	}
}

// Each fetch went on for a minute after its client had left, without a bound
// on how many: one client that asks and leaves could take all connections to
// the app.
func TestClientsThatAskAndLeaveDoNotFillTheOrigin(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	entered := make(chan struct{}, 1)
	var under atomic.Int64
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		under.Add(1)
		defer under.Add(-1)
		entered <- struct{}{}
		<-r.Context().Done()
	})
	for i := range 700 {
		ctx, leave := context.WithCancel(context.Background())
		go func() {
			<-entered
			leave()
		}()
		if a, err := s.try(ctx, "GET", fmt.Sprintf("/%d", i)); err == nil {
			t.Fatal(a.cacheStatus())
		}
	}
	eventually(t, "most of them end", func() bool { return under.Load() <= 512 })
}
