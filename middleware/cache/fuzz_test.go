package cache

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

// These fuzz targets look at parsers that have no other door to knock at.

var fuzzNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func FuzzCacheControl(f *testing.F) {
	for _, s := range []string{"", "max-age=60", `no-cache="a, b", max-age="1"`, `ext="a\"b", private`, `x="`, "a==b,,", "max-age =1", `max-age="60"0`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := parseCacheControl([]string{s})
		for _, v := range []delta{d.maxAge, d.sMaxAge, d.staleIfError, d.staleWhileRevalidate, d.maxStale, d.minFresh} {
			if v.d < 0 || v.d > maxDelta || (v.valid && !v.present) {
				t.Fatalf("%q: %+v", s, v)
			}
		}
		for _, name := range append(d.noCacheFields, d.privateFields...) {
			if !isToken(name) {
				t.Fatalf("%q names the field %q", s, name)
			}
		}
		// Nothing on one line hides a restriction on another.
		if d := parseCacheControl([]string{s, "no-store"}); !d.noStore {
			t.Fatalf("%q hid no-store on the next line", s)
		}
		// A restriction in front is not undone by what follows.
		if d := parseCacheControl([]string{"private, " + s}); !d.private {
			t.Fatalf("%q undid private", s)
		}
	})
}

func FuzzCDNCacheControl(f *testing.F) {
	for _, s := range []string{"max-age=60", "no-store", `private="a"`, "max-age=1.5", "a=(1 2);b", "Max-Age=1", "max-age=99999999999999", "no-cache=?0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := parseTargeted([]string{s})
		if !ok && !reflect.DeepEqual(d, directives{}) {
			t.Fatalf("%q is invalid and yet says %+v", s, d)
		}
		for _, v := range []delta{d.maxAge, d.sMaxAge, d.staleIfError, d.staleWhileRevalidate} {
			if v.d < 0 || v.d > maxDelta || v.present != v.valid {
				t.Fatalf("%q: %+v", s, v)
			}
		}
		if ok {
			if d, ok := parseTargeted([]string{s, "no-store"}); ok && !d.noStore {
				t.Fatalf("%q hid no-store on the next line", s)
			}
		}
	})
}

func FuzzDate(f *testing.F) {
	for _, s := range []string{"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "0", "Sun, 30 Feb 2026 00:00:60 gmt"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		date, ok := parseDate(s, fuzzNow)
		if !ok {
			return
		}
		if again, ok := parseDate(formatDate(date), fuzzNow); date.Year() <= 9999 && (!ok || !again.Equal(date)) {
			t.Fatalf("%q is %v, which is written %q and read %v", s, date, formatDate(date), again)
		}
		// Go's parser is laxer, so it must agree, but for what it reads
		// otherwise: leap seconds and two-digit years.
		goDate, err := http.ParseTime(s)
		if err == nil && !goDate.Equal(date) && strings.Count(s, "-") == 0 && !strings.Contains(s, ":60") {
			t.Fatalf("%q: %v, Go says %v", s, date, goDate)
		}
	})
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-1", "bytes=-5", "bytes=5-", "bytes=99999999999999999999-", "bytes=1-0", "bytes = 0-0", "bytes=0-0,2-3"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, s string, size int64) {
		if size < 0 {
			return
		}
		r, answer := parseRange(s, size)
		if answer == rangePartial && (r.start < 0 || r.length <= 0 || r.start > size-r.length) {
			t.Fatalf("%q of %d bytes gives %+v", s, size, r)
		}
		if n, ok := completeLength(s); ok && n < 0 {
			t.Fatalf("%q: %d", s, n)
		}
	})
}

func FuzzVary(f *testing.F) {
	f.Add("Accept-Encoding, Foo", "gzip, br;q=0.5", "1 ,2")
	f.Add("*", `"a, b" , c`, "")
	f.Fuzz(func(t *testing.T, vary, one, two string) {
		names, ok := varyNames(http.Header{"Vary": {vary}})
		if ok && strings.Contains(","+strings.ReplaceAll(vary, " ", "")+",", ",*,") {
			t.Fatalf("%q was taken for a list of names: %q", vary, names)
		}
		h := http.Header{"Accept-Language": {one}, "Accept": {two}, "Foo": {one, two}, "Cookie": {one, two}}
		field := func(name string) []string { return h[name] }
		for name := range h {
			s := selectorsOf([]string{name}, field)
			if !selects(s, field) {
				t.Fatalf("%s: %q does not select what it fetched", name, h[name])
			}
			normal := normalField(name, h[name])
			if name != "Cookie" && normalField(name, []string{normal}) != normal {
				t.Fatalf("%s: %q normalises to %q, and that to %q", name, h[name], normal, normalField(name, []string{normal}))
			}
		}
	})
}

func FuzzEntityTags(f *testing.F) {
	f.Add(`"a", W/"b"`, `"b"`)
	f.Add(`"a,b",,c`, "c")
	f.Fuzz(func(t *testing.T, list, etag string) {
		etagListed([]string{list}, etag)
		if validETag(etag) && !etagListed([]string{`"other-x"`, etag}, etag) {
			t.Fatalf("%q does not match itself", etag)
		}
	})
}

func FuzzStoredMetadata(f *testing.F) {
	e := &entry{keyText: "key", status: 200, header: http.Header{"A": {"1", "2"}, "Etag": {`"v"`}}, date: fuzzNow, received: fuzzNow,
		lifetime: time.Minute, vary: []selector{{name: "Foo", value: "1", present: true}}, tags: []tag{{1}, {2}}, stamp: stamp{logID{3}, 4},
		bodyID: strings.Repeat("ab", 16), body: body{size: 5}}
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
		if !reflect.DeepEqual(e.header, again.header) || e.stamp != again.stamp || e.variant != again.variant ||
			!reflect.DeepEqual(e.tags, again.tags) || e.body.size != again.body.size || !e.received.Equal(again.received) {
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
