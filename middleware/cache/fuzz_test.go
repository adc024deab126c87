package cache

import (
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/cache/internal/fleet"
	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// Fuzz targets of the parsers that no exported function reaches directly.

var fuzzNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func FuzzStoredMetadata(f *testing.F) {
	e := &entry{
		Response: rfc9111.Response{
			Status: 200, Header: http.Header{"A": {"1", "2"}, "Etag": {`"v"`}}, Date: fuzzNow, Received: fuzzNow,
			Lifetime: time.Minute, Vary: []rfc9111.Selector{{Name: "Foo", Value: "1", Present: true}},
		},
		keyText: "key", tags: []tag{{1}, {2}}, stamp: fleet.Stamp{Log: fleet.LogID{3}, Epoch: 4}, bodyID: strings.Repeat("ab", 16), body: body{size: 5},
	}
	good := encodeEntry(e)
	f.Add(good)
	f.Add([]byte{codecVersion})
	f.Add(good[:len(good)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEntry(b)
		if err != nil {
			return
		}
		again, err := decodeEntry(encodeEntry(e))
		if err != nil {
			t.Fatalf("what was read cannot be written and read again: %v", err)
		}
		if !reflect.DeepEqual(e.Header, again.Header) || e.stamp != again.stamp || e.Variant != again.Variant ||
			!reflect.DeepEqual(e.tags, again.tags) || e.body.size != again.body.size || !e.Received.Equal(again.Received) {
			t.Fatalf("%+v became %+v", e, again)
		}
	})
}

func FuzzQueryOfTheKey(f *testing.F) {
	f.Add("a=1&utm_x=2;b=3&&c")
	f.Fuzz(func(t *testing.T, raw string) {
		r, err := Rule{Name: "r", IgnoreQuery: []string{"utm_*", "fbclid"}}.compile()
		if err != nil {
			t.Fatal(err)
		}
		once := string(appendQuery(nil, r, raw))
		if twice := string(appendQuery(nil, r, once)); twice != once {
			t.Fatalf("%q gives %q, and that %q", raw, once, twice)
		}
	})
}

// FuzzTagsOfAPath: a purge names a path as the client of the request did, and both have the tags of one path, of
// which the prefixes are its segments.
func FuzzTagsOfAPath(f *testing.F) {
	f.Add("/a/../b//c/%7e%2F")
	f.Add("/c/q[1]|%2f")
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || u.Host != "" || !strings.HasPrefix(path, "/") {
			return
		}
		stored := targetTags("h", httpx.RawPath(u), u.RawQuery)
		if n, err := httpx.NormalizePath(httpx.RawPath(u)); err == nil {
			stored = targetTags("h", n.RawPath, u.RawQuery) // what the gateway keys by
		}
		purged, err := Purge{URL: "http://h" + path}.tags(func(raw string) []string { return []string{raw} })
		if err != nil {
			return // net/url takes it for no URL
		}
		if !slices.Contains(stored, purged[0]) {
			t.Fatalf("a purge of %q misses what is stored for it", path)
		}
	})
}
