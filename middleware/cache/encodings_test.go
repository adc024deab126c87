package cache_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/compress"
)

// encodingCounter counts the copies that a cache makes.
type encodingCounter struct {
	cache.NopObserver
	made atomic.Int64
}

func (o *encodingCounter) Encoded(_, _ string, _, _ int64) { o.made.Add(1) }

// newCompressed is a site whose responses are compressed before the cache.
func newCompressed(t testing.TB, options ...siteOption) (*site, *encodingCounter) {
	counter := &encodingCounter{}
	s := newSite(t, append(options, withOptions(func(o *cache.Options) { o.Observer = counter }))...)
	s.front = compress.Middleware(compress.Options{})
	return s, counter
}

// page is what sites serve: text that gains.
var page = strings.Repeat("<p>one of the many words of a page that gains by it</p>\n", 400)

var cachedPage = []string{"Cache-Control: max-age=3600", "Content-Type: text/html", `ETag: "abc"`, "Accept-Ranges: bytes"}

// content is an answer's body without its coding.
func (a *answer) content(t testing.TB) string {
	t.Helper()
	var r io.Reader = strings.NewReader(a.body)
	var err error
	switch encoding := a.Header.Get("Content-Encoding"); encoding {
	case "":
	case "br":
		r = brotli.NewReader(r)
	case "gzip":
		r, err = gzip.NewReader(r)
	case "zstd":
		r, err = zstd.NewReader(r)
	default:
		t.Fatalf("Content-Encoding %q", encoding)
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", a.Header.Get("Content-Encoding"), err)
	}
	return string(text)
}

// expectEncoding fails unless an answer has the page in this coding, and says so.
func (a *answer) expectEncoding(t testing.TB, what, want, etag string) {
	t.Helper()
	if got := a.Header.Get("Content-Encoding"); got != want || a.Header.Get("Etag") != etag || a.Header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("%s: Content-Encoding %q, want %q; ETag %s, want %s; Vary %q", what, got, want, a.Header.Get("Etag"), etag, a.Header.Values("Vary"))
	}
	if a.content(t) != page {
		t.Errorf("%s: another body", what)
	}
}

func TestThousandHitsMakeOneCompression(t *testing.T) {
	t.Parallel()
	s, counter := newCompressed(t)
	s.serves(200, page, cachedPage...)
	s.get("/")
	s.cache.WaitForFetches()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 50 {
				a, err := s.try(context.Background(), "GET", "/", "Accept-Encoding: gzip, br, zstd")
				if err != nil {
					t.Error(err)
					return
				}
				if a.content(t) != page || !a.hit() {
					t.Errorf("%s: another body", a.cacheStatus())
				}
			}
		})
	}
	all.Wait()
	s.cache.WaitForFetches()
	if n := counter.made.Load(); n != 1 {
		t.Errorf("%d compressions", n)
	}
	s.expectCalls(1)
	a := s.get("/", "Accept-Encoding: gzip, br, zstd")
	a.expectEncoding(t, "afterwards", "br", `"abc-br"`)
	if a.ContentLength != int64(len(a.body)) || len(a.body) > len(page)/10 || a.Header.Get("Accept-Ranges") != "" {
		t.Errorf("%d bytes, Content-Length %d, Accept-Ranges %q", len(a.body), a.ContentLength, a.Header.Get("Accept-Ranges"))
	}
	if head := s.do("HEAD", "/", "Accept-Encoding: gzip, br, zstd"); head.ContentLength != a.ContentLength || head.Header.Get("Etag") != `"abc-br"` || head.Header.Get("Content-Encoding") != "br" {
		t.Errorf("HEAD: %v", head.Header)
	}
}

// A client that takes no coding never gets an encoded byte, also where another client has warmed the entry, and one that does gets nothing that
// says it is encoded and is not: at the fill, with requests that wait for it, from either tier, for HEAD, conditions and ranges.
func TestIdentityAndEncodedClientsKeepApart(t *testing.T) {
	t.Parallel()
	for _, redis := range []bool{false, true} {
		var options []siteOption
		if redis {
			f := newFleet(t, 1, redistest.Start(t).URL)
			options = append(options, withOptions(func(o *cache.Options) { o.Redis, o.Lease = f.stores[0], redisPatience }))
		}
		s, _ := newCompressed(t, options...)
		s.serves(200, page, cachedPage...)
		for path, order := range map[string][]string{"/gzip-first": {"gzip", ""}, "/identity-first": {"", "gzip"}} {
			for range 2 {
				for _, accepts := range order {
					for _, field := range []string{"X-None: 1", `If-None-Match: "other"`, "Range: bytes=0-9"} {
						a := s.get(path, "Accept-Encoding: "+accepts, field)
						switch what := fmt.Sprintf("%s with %q and %s (%s)", path, accepts, field, a.cacheStatus()); {
						case a.StatusCode == 206:
							if a.body != page[:10] || a.Header.Get("Content-Encoding") != "" || a.Header.Get("Etag") != `"abc"` {
								t.Errorf("%s: %v", what, a.Header)
							}
						case a.Header.Get("Content-Encoding") != "":
							a.expectEncoding(t, what, accepts, `"abc-`+accepts+`"`)
						default:
							a.expectEncoding(t, what, "", `"abc"`)
						}
					}
				}
				s.cache.WaitForFetches()
			}
			eventually(t, "hits are encoded", func() bool { return s.get(path, "Accept-Encoding: gzip").Header.Get("Content-Encoding") == "gzip" })
			s.get(path).expectEncoding(t, "no Accept-Encoding", "", `"abc"`)
			s.get(path, "Accept-Encoding: identity").expectEncoding(t, "identity", "", `"abc"`)
			s.get(path, "Accept-Encoding: identity;q=0, zstd").expectEncoding(t, "identity is refused and there is no copy", "zstd", `"abc-zstd"`)
		}
	}
}

// The first client of a fill has the response compressed while it arrives, and so has each that waits.
func TestFillIsCompressedAsItArrives(t *testing.T) {
	t.Parallel()
	s, counter := newCompressed(t)
	more, asked := make(chan bool), make(chan bool, 1)
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "max-age=3600")
		h.Set("Content-Type", "text/html")
		h.Set("Etag", `"abc"`)
		io.WriteString(w, page[:100])
		http.NewResponseController(w).Flush()
		asked <- true
		<-more
		io.WriteString(w, page[100:])
	})
	begin := func(accepts string) (*http.Response, io.Reader) {
		req, _ := http.NewRequest("GET", s.server.URL+"/", nil)
		req.Host = "shop.test"
		req.Header.Set("Accept-Encoding", accepts)
		res, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res, res.Body
	}
	leader, first := begin("br")
	<-asked
	follower, second := begin("gzip")
	plain, third := begin("")
	start := make([]byte, 100)
	if _, err := io.ReadFull(brotli.NewReader(first), start[:1]); err != nil { // before the rest is there
		t.Fatal(err)
	}
	unzipped, err := gzip.NewReader(second)
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]io.Reader{"gzip": unzipped, "identity": third} {
		if _, err := io.ReadFull(r, start); err != nil || string(start) != page[:100] {
			t.Fatalf("%s: %q, %v", name, start, err)
		}
	}
	close(more)
	if rest, err := io.ReadAll(unzipped); err != nil || string(rest) != page[100:] {
		t.Errorf("the rest: %d bytes, %v", len(rest), err)
	}
	if leader.Header.Get("Etag") != `"abc-br"` || follower.Header.Get("Etag") != `"abc-gzip"` || plain.Header.Get("Etag") != `"abc"` || plain.Header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("%v, %v, %v", leader.Header, follower.Header, plain.Header)
	}
	s.expectCalls(1)
	if n := counter.made.Load(); n != 0 {
		t.Errorf("a fill makes %d copies", n)
	}
}

func TestConditionsAboutEncodedResponses(t *testing.T) {
	t.Parallel()
	s, _ := newCompressed(t)
	s.serves(200, page, cachedPage...)
	s.get("/", "Accept-Encoding: br")
	s.cache.WaitForFetches()
	for _, tc := range []struct {
		fields []string
		status int
		etag   string
	}{
		{[]string{`If-None-Match: "abc-br"`}, 304, `"abc-br"`},
		{[]string{`If-None-Match: "abc"`}, 304, `"abc"`},
		{[]string{`If-None-Match: "abc-gzip", "abc-br"`}, 304, `"abc-br"`},
		{[]string{`If-None-Match: "x", W/"abc"`}, 304, `"abc"`},
		{[]string{`If-None-Match: "abd-br"`}, 200, ""},
		{[]string{"Range: bytes=0-9", `If-Range: "abc"`}, 206, `"abc"`},
		{[]string{"Range: bytes=0-9", `If-Range: "abc-br"`}, 200, ""},
	} {
		a := s.get("/", append(tc.fields, "Accept-Encoding: br")...)
		if a.StatusCode != tc.status || tc.etag != "" && a.Header.Get("Etag") != tc.etag {
			t.Errorf("%s: %d with %s, want %d with %s", tc.fields, a.StatusCode, a.Header.Get("Etag"), tc.status, tc.etag)
		}
		if a.StatusCode != 206 && a.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: Vary %q", tc.fields, a.Header.Values("Vary"))
		}
		if a.StatusCode == 200 && a.content(t) != page {
			t.Errorf("%s: another body", tc.fields)
		}
	}
	s.expectCalls(1)

	s.clock.step(61 * time.Minute) // stale: the app server is asked, about its own tag
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("If-None-Match"); got != `"abc"` {
			t.Errorf("the app server is asked about %s", got)
		}
		w.Header().Set("Etag", `"abc"`)
		w.Header().Set("Cache-Control", "max-age=3600")
		w.WriteHeader(304)
	})
	if a := s.get("/", `If-None-Match: "abc-br"`, "Accept-Encoding: br"); a.StatusCode != 304 || a.Header.Get("Etag") != `"abc-br"` {
		t.Errorf("revalidated: %d, %v", a.StatusCode, a.Header)
	}
	s.cache.WaitForFetches()
	a := s.get("/", "Accept-Encoding: br") // the copy is one of the same body
	a.expectEncoding(t, "after the revalidation", "br", `"abc-br"`)
}

// Copies count in the local tier, and go with their entry.
func TestCopiesAreCountedAndGoWithTheirEntry(t *testing.T) {
	t.Parallel()
	s, counter := newCompressed(t, withOptions(func(o *cache.Options) { o.LocalBytes = 8 << 20 }))
	var noise bytes.Buffer
	for i := range 20_000 {
		fmt.Fprintf(&noise, "%x ", i*i*7919)
	}
	s.serves(200, noise.String(), cachedPage...)
	s.get("/")
	s.cache.WaitForFetches()
	before := s.cache.Stats().LocalBytes
	s.get("/", "Accept-Encoding: gzip")
	s.cache.WaitForFetches()
	a := s.get("/", "Accept-Encoding: gzip")
	if a.Header.Get("Content-Encoding") != "gzip" {
		t.Fatal(a.Header)
	}
	if grown := s.cache.Stats().LocalBytes - before; grown < int64(len(a.body)) || grown > int64(len(a.body))*2 {
		t.Errorf("a copy of %d bytes counts as %d", len(a.body), grown)
	}
	if err := s.cache.Purge(context.Background(), cache.Purge{URL: "http://shop.test/"}); err != nil {
		t.Fatal(err)
	}
	s.serves(200, page, cachedPage...)
	s.get("/", "Accept-Encoding: gzip").expectEncoding(t, "the fill after a purge", "gzip", `"abc-gzip"`)
	s.cache.WaitForFetches()
	s.get("/", "Accept-Encoding: gzip").expectEncoding(t, "the first hit of another body", "", `"abc"`)
	s.cache.WaitForFetches()
	s.get("/", "Accept-Encoding: gzip").expectEncoding(t, "the second", "gzip", `"abc-gzip"`)
	if n := counter.made.Load(); n != 2 {
		t.Errorf("%d compressions", n)
	}
}

// What stays hot is compressed once more, as well as it can be.
func TestHotEntryIsCompressedBest(t *testing.T) {
	t.Parallel()
	s, counter := newCompressed(t)
	var text strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&text, "<li>%d: %x</li>\n", i, i*i*i)
	}
	s.serves(200, text.String(), cachedPage...)
	for range 2 {
		s.get("/", "Accept-Encoding: br")
		s.cache.WaitForFetches()
	}
	first := s.get("/", "Accept-Encoding: br")
	for range 150 {
		s.get("/", "Accept-Encoding: br")
	}
	s.cache.WaitForFetches()
	if n := counter.made.Load(); n != 1 {
		t.Fatalf("%d compressions within ten seconds", n)
	}
	s.clock.step(time.Minute)
	for range 150 {
		s.get("/", "Accept-Encoding: br")
	}
	s.cache.WaitForFetches()
	last := s.get("/", "Accept-Encoding: br")
	if n := counter.made.Load(); n != 2 || len(last.body) >= len(first.body) || last.content(t) != text.String() {
		t.Errorf("%d compressions, %d bytes and then %d", n, len(first.body), len(last.body))
	}
}

func TestNotWorthACopy(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string][]string{
		"an image":          {"Content-Type: image/png"},
		"encoded already":   {"Content-Type: text/html", "Content-Encoding: gzip"},
		"no-transform":      {"Content-Type: text/html", "Cache-Control: no-transform"},
		"a digest":          {"Content-Type: text/html", "Content-Digest: sha-256=:x:"},
		"an event stream":   {"Content-Type: text/event-stream"},
		"without a type":    nil,
		"private, for now":  {"Content-Type: text/html", "Cache-Control: private"},
		"a cookie is set":   {"Content-Type: text/html", "Set-Cookie: a=b"},
		"a range, of sorts": {"Content-Type: text/html", "Content-Range: bytes 0-1/2"},
	} {
		s, counter := newCompressed(t)
		s.serves(200, page, append([]string{"Cache-Control: max-age=60", `ETag: "x-gzip"`}, fields...)...)
		for range 2 {
			a := s.get("/", "Accept-Encoding: gzip, br")
			if a.body != page || a.Header.Get("Etag") != `"x-gzip-identity"` || len(a.Header["Content-Encoding"]) > 0 && name != "encoded already" {
				t.Errorf("%s: %d bytes, %v", name, len(a.body), a.Header)
			}
			s.cache.WaitForFetches()
		}
		if a := s.get("/", `If-None-Match: "x-gzip-identity"`); a.hit() && a.StatusCode != 304 {
			t.Errorf("%s: %d", name, a.StatusCode)
		}
		if counter.made.Load() > 0 {
			t.Errorf("%s: a copy is made", name)
		}
	}
}
