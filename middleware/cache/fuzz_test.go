package cache

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

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
		keyText: "key", tags: []tag{{1}, {2}}, stamp: stamp{logID{3}, 4}, bodyID: strings.Repeat("ab", 16), body: body{size: 5},
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

func FuzzPathOfTags(f *testing.F) {
	f.Add("/a/../b//c/%7e%2F")
	f.Fuzz(func(t *testing.T, path string) {
		normal := normalPath(path)
		if !strings.HasPrefix(normal, "/") || strings.Contains(normal, "//") {
			t.Fatalf("%q normalises to %q", path, normal)
		}
		if again := normalPath(normal); again != normal && !strings.Contains(normal, "%25") && !strings.Contains(normal, "%") {
			t.Fatalf("%q normalises to %q, and that to %q", path, normal, again)
		}
	})
}
