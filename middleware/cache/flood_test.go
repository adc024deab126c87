package cache_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/clientip"
)

// asClients has requests come from the address in X-Client.
func (s *site) asClients() {
	s.front = func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			addr := netip.MustParseAddr(r.Header.Get("X-Client"))
			c.SetRequest(r.WithContext(clientip.NewContext(r.Context(), clientip.Info{Addr: addr, Bucket: addr})))
			r.Header.Del("X-Client")
			return next(c)
		}
	}
}

const (
	flooder = "X-Client: 192.0.2.1"
	visitor = "X-Client: 198.51.100.1"
)

func shareUsedUp(a *answer) bool { return strings.Contains(a.cacheStatus(), "detail=client-share") }

func TestFloodOfQueriesFillsAPartOfTheCacheOnly(t *testing.T) {
	t.Parallel()
	const local = 16 << 20
	s := newSite(t, withOptions(func(o *cache.Options) { o.LocalBytes = local }))
	s.asClients()
	s.serves(200, strings.Repeat("x", 10_000), "Cache-Control: max-age=60")
	s.get("/hot?page=1", visitor)
	before := s.cache.Stats().LocalBytes
	var last *answer
	for i := range 300 {
		last = s.get(fmt.Sprintf("/hot?x=%d", i), flooder)
		if last.StatusCode != 200 || len(last.body) != 10_000 {
			t.Fatalf("%d: status %d, %d bytes", i, last.StatusCode, len(last.body))
		}
	}
	s.cache.WaitForFetches()
	if !shareUsedUp(last) || strings.Contains(last.cacheStatus(), "stored") {
		t.Errorf("the flooding client is told %q", last.cacheStatus())
	}
	if added := s.cache.Stats().LocalBytes - before; added > local/16 || added < local/16*9/10 {
		t.Errorf("one client has added %d bytes, its share is %d", added, local/16)
	}
	if a := s.get("/hot?page=1", visitor); !a.hit() {
		t.Errorf("the page that a visitor had stored: %s", a.cacheStatus())
	}
	if a := s.get("/hot?x=0", flooder); !a.hit() {
		t.Errorf("what the client has added: %s", a.cacheStatus())
	}

	// What others ask for, too, is stored for them.
	s.get("/hot?x=299", visitor)
	s.cache.WaitForFetches()
	if a := s.get("/hot?x=299", flooder); !a.hit() {
		t.Errorf("what a visitor has stored: %s", a.cacheStatus())
	}
	// A path without a query is not the client's choice.
	s.get("/hot", flooder)
	s.cache.WaitForFetches()
	if a := s.get("/hot", flooder); !a.hit() {
		t.Errorf("a page without a query: %s", a.cacheStatus())
	}

	s.clock.step(time.Hour) // all of it has expired
	s.get("/hot?x=1000", flooder)
	s.cache.WaitForFetches()
	if a := s.get("/hot?x=1000", flooder); !a.hit() {
		t.Errorf("after its responses have expired the client may add none: %s", a.cacheStatus())
	}
}

func TestListedQueriesAreNoFlood(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]cache.Rule{"listed": {Query: []string{"x"}}, "ignored": {IgnoreQuery: []string{"x"}}, "none": {Query: []string{}}} {
		s := newSite(t, withOptions(func(o *cache.Options) { o.LocalBytes = 16 << 20 }), withRule(rule))
		s.asClients()
		s.serves(200, strings.Repeat("x", 50_000), "Cache-Control: max-age=60")
		for i := range 40 {
			if a := s.get(fmt.Sprintf("/?x=%d", i), flooder); shareUsedUp(a) {
				t.Fatalf("%s: %d: %s", name, i, a.cacheStatus())
			}
		}
	}
}

// A client whose share is used up leads a fetch that a visitor waits for, too:
// one request to the origin, and the response is stored.
func TestFlooderDoesNotKeepAPageOutOfTheCache(t *testing.T) {
	t.Parallel()
	s := newSite(t, withOptions(func(o *cache.Options) { o.LocalBytes = 1 << 20 }))
	s.asClients()
	s.serves(200, strings.Repeat("x", 70_000), "Cache-Control: max-age=60")
	s.get("/?x=1", flooder)
	s.cache.WaitForFetches()
	if a := s.get("/?x=2", flooder); a.hit() {
		t.Fatal(a.cacheStatus())
	}
	s.cache.WaitForFetches()
	if a := s.get("/?x=2", flooder); !shareUsedUp(a) {
		t.Fatalf("the share is not used up: %s", a.cacheStatus())
	}
	before := s.calls.Load()
	waiting := make(chan bool)
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		<-waiting
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "hot")
	})
	answers := make(chan *answer, 2)
	ask := func(client string, waiting int) {
		go func() {
			a, err := s.try(context.Background(), "GET", "/?hot", client)
			if err != nil {
				t.Error(err)
				a = &answer{}
			}
			answers <- a
		}()
		s.awaitWaiting(waiting)
	}
	ask(flooder, 1)
	ask(visitor, 2)
	close(waiting)
	for range 2 {
		if a := <-answers; a.body != "hot" {
			t.Errorf("%q", a.body)
		}
	}
	s.cache.WaitForFetches()
	if a := s.get("/?hot", visitor); !a.hit() {
		t.Errorf("the page is not stored: %s", a.cacheStatus())
	}
	s.expectCalls(before + 1)
}

// Over all instances one client adds its part of what the cache keeps in Redis.
func TestFloodOverAFleetFillsAPartOfRedisOnly(t *testing.T) {
	t.Parallel()
	const budget = 16 << 20
	server := redistest.Start(t)
	f := newFleet(t, 2, server.URL, withOptions(func(o *cache.Options) { o.RedisBytes = budget }))
	f.serves(200, strings.Repeat("x", 10_000), "Cache-Control: max-age=3600")
	for _, s := range f.sites {
		s.asClients()
	}
	eventually(t, "the instances know of each other", func() bool {
		return server.Client.HLen(t.Context(), "headgate:cache:{budget}").Val() == 2 && f.sites[0].cache.Stats().Instances == 2 && f.sites[1].cache.Stats().Instances == 2
	})
	for i := range 300 {
		f.sites[i%2].get(fmt.Sprintf("/?x=%d", i), flooder)
	}
	if n := counted(t, server.Client); n > budget/16*11/10 || n < budget/16*8/10 {
		t.Errorf("one client has added %d bytes, its share is %d", n, budget/16)
	}
	f.sites[0].get("/?y", visitor)
	eventually(t, "a visitor's page is in Redis", func() bool {
		return f.sites[1].get("/?y", visitor, "Cache-Control: only-if-cached").StatusCode == 200
	})
}
