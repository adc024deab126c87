package cache_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/store/redistest"
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
	s.clock.step(20 * time.Second)
	s.get("/x", "Accept-Language: de") // validates
	if a := s.get("/x", "Accept-Language: en"); a.hit() {
		t.Errorf("revived: %s", a.cacheStatus())
	}
}
