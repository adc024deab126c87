package cache_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/headgate/headgate/middleware/cache"
)

// hits asks for a target to the letter, which an http.Client would write anew.
func hits(s *site, target string) bool {
	r, w := httptest.NewRequest("GET", target, nil), httptest.NewRecorder()
	r.Host = "shop.test"
	s.server.Config.Handler.ServeHTTP(w, r)
	return strings.Contains(w.Header().Get("Cache-Status"), "; hit")
}

// A purge and an invalidation take every way of writing a path for the same, also one that a front would refuse.
func TestAPathIsPurgedHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ asked, named string }{
		{"/q[1]", "/q%5B1%5d"},
		{"/q%5B1%5D", "/q[1]"},
		{"/a|%2Fb", "/a|%2fb"},
		{"/a|%2Fb", "/a%7C%2Fb"},
		{"/a%2f../b", "/a%2F../b"},
		{"/b//c/./d", "/b/c/d"},
	} {
		s := newSite(t)
		purge := func(p cache.Purge) func() {
			return func() {
				if err := s.cache.Purge(context.Background(), p); err != nil {
					t.Fatal(err)
				}
			}
		}
		for how, invalidate := range map[string]func(){
			"url":      purge(cache.Purge{URL: "http://shop.test" + tt.named}),
			"prefix":   purge(cache.Purge{Prefix: "https://SHOP.test." + tt.named}),
			"Location": func() { s.serves(201, "", "Location: "+tt.named); s.do("POST", "/other") },
		} {
			s.serves(200, "old", "Cache-Control: max-age=600")
			if hits(s, tt.asked); !hits(s, tt.asked) {
				t.Fatalf("%s is not cached", tt.asked)
			}
			invalidate()
			s.serves(200, "new", "Cache-Control: max-age=600")
			if hits(s, tt.asked) {
				t.Errorf("%s of %s leaves %s", how, tt.named, tt.asked)
			}
		}
	}
}

func TestPathsThatDifferAreKeptApart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.serves(200, "", "Cache-Control: max-age=600")
	hits(s, "/a%2Fb|")
	if hits(s, "/a/b|") {
		t.Error("a slash is taken for an escaped one")
	}
}
