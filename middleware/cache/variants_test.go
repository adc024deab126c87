package cache_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/redistest"
)

const (
	browser      = "Accept-Encoding: gzip, deflate, br, zstd"
	otherVisitor = "X-Client: 203.0.113.1"
)

// oddEncodings are n fields that mean little more than a browser's.
func oddEncodings(n int) (fields []string) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		fields = append(fields, fmt.Sprintf("Accept-Encoding: gzip;q=0.%03d, br;q=0.%03d,  x-odd-%d", 1+random.IntN(999), 1+random.IntN(999), i))
	}
	return fields
}

// varies sets an origin whose response varies on these fields, and is fresh for an hour.
func varies(s *site, on string) {
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Vary", on)
		fmt.Fprint(w, r.Header.Get("Accept-Encoding"), r.Header.Get("Foo"))
	})
}

// Accept-Encoding was compared as text: 40 odd ones pushed the browsers' variant out.
func TestOddAcceptEncodingsAreFewVariants(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	varies(s, "Accept-Encoding")
	s.get("/", browser)
	for _, field := range oddEncodings(300) {
		s.get("/", field)
	}
	if a := s.get("/", browser); !a.hit() {
		t.Errorf("the browsers' variant: %s", a.cacheStatus())
	}
	if n := s.calls.Load(); n > 4 {
		t.Errorf("300 values of three meanings cost %d requests to the origin", n)
	}
}

// One client that made up values of a Vary field pushed out the variant that all others asked for.
func TestOneClientDoesNotPushOutAHotVariant(t *testing.T) {
	t.Parallel()
	for _, first := range []string{flooder, visitor} {
		s := newSite(t)
		s.asClients()
		varies(s, "Foo")
		s.get("/", first, "Foo: hot")
		s.cache.WaitForFetches()
		s.get("/", otherVisitor, "Foo: hot")
		s.get("/", visitor, "Foo: rare")
		s.get("/", flooder, "Foo: hot")
		s.cache.WaitForFetches()
		for i := range 100 {
			s.get("/", flooder, fmt.Sprintf("Foo: %d", i))
		}
		s.cache.WaitForFetches()
		for _, foo := range []string{"Foo: hot", "Foo: rare"} {
			if a := s.get("/", otherVisitor, foo); !a.hit() {
				t.Errorf("%s, which %s had stored: %s", foo, first, a.cacheStatus())
			}
		}
	}
}

// 300 values of a Vary header left 301 keys in Redis, and none of them that others asked for.
func TestVariantsThatLeaveTheIndexLeaveRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := newFleet(t, 2, server.URL)
	for _, s := range f.sites {
		s.asClients()
		varies(s, "Foo")
	}
	stored := func(s *site, fields ...string) func() bool {
		return func() bool { return s.get("/", append(fields, "Cache-Control: only-if-cached")...).StatusCode == 200 }
	}
	f.sites[0].get("/", visitor, "Foo: hot")
	eventually(t, "the hot variant is in Redis", stored(f.sites[1], otherVisitor, "Foo: hot"))
	for i := range 300 {
		f.sites[0].get("/", flooder, fmt.Sprintf("Foo: %d", i))
	}
	eventually(t, "the last variant is in Redis", stored(f.sites[1], flooder, "Foo: 299"))
	keys := server.Client.Keys(t.Context(), "headgate:cache:{*}:*").Val()
	bodies, index := 0, ""
	for _, key := range keys {
		if strings.Contains(key, ":b:") {
			bodies++
		}
		if strings.HasSuffix(key, ":i") {
			index = key
		}
	}
	if n := server.Client.HLen(t.Context(), index).Val(); bodies > 32 || n != 33 {
		t.Errorf("Redis has %d bodies, and an index of %d fields with its count, want 32 and 33", bodies, n)
	}
	counted(t, server.Client)
	fresh := newFleet(t, 1, server.URL).sites[0]
	fresh.asClients()
	if !stored(fresh, visitor, "Foo: hot")() {
		t.Error("the hot variant is not in Redis any more")
	}
}
