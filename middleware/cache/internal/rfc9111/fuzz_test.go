package rfc9111

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/httpx"
)

var fuzzNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func FuzzCacheControl(f *testing.F) {
	for _, s := range []string{"", "max-age=60", `no-cache="a, b", max-age="1"`, `ext="a\"b", private`, `x="`, "a==b,,", "max-age =1", `max-age="60"0`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := ParseCacheControl([]string{s})
		for _, v := range []Delta{d.MaxAge, d.SMaxAge, d.Stale.IfError, d.Stale.WhileRevalidate, d.MaxStale, d.MinFresh} {
			if v.Value < 0 || v.Value > MaxDelta || (v.Valid && !v.Present) {
				t.Fatalf("%q: %+v", s, v)
			}
		}
		for _, name := range append(d.NoCacheFields, d.PrivateFields...) {
			if !httpx.IsToken(name) {
				t.Fatalf("%q names the field %q", s, name)
			}
		}
		// Nothing on one line hides a restriction on another.
		if d := ParseCacheControl([]string{s, "no-store"}); !d.NoStore {
			t.Fatalf("%q hid no-store on the next line", s)
		}
		// A restriction in front is not undone by what follows.
		if d := ParseCacheControl([]string{"private, " + s}); !d.Private {
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
		if !ok && !reflect.DeepEqual(d, Directives{}) {
			t.Fatalf("%q is invalid and yet says %+v", s, d)
		}
		for _, v := range []Delta{d.MaxAge, d.SMaxAge, d.Stale.IfError, d.Stale.WhileRevalidate} {
			if v.Value < 0 || v.Value > MaxDelta || v.Present != v.Valid {
				t.Fatalf("%q: %+v", s, v)
			}
		}
		if ok {
			if d, ok := parseTargeted([]string{s, "no-store"}); ok && !d.NoStore {
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
		date, ok := ParseDate(s, fuzzNow)
		if !ok {
			return
		}
		if again, ok := ParseDate(FormatDate(date), fuzzNow); date.Year() <= 9999 && (!ok || !again.Equal(date)) {
			t.Fatalf("%q is %v, which is written %q and read %v", s, date, FormatDate(date), again)
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
		r, answer := ParseRange(s, size)
		if answer == RangePartial && (r.Start < 0 || r.Length <= 0 || r.Start > size-r.Length) {
			t.Fatalf("%q of %d bytes gives %+v", s, size, r)
		}
		if n, ok := CompleteLength(s); ok && n < 0 {
			t.Fatalf("%q: %d", s, n)
		}
	})
}

func FuzzVary(f *testing.F) {
	f.Add("Accept-Encoding, Foo", "gzip, br;q=0.5", "1 ,2")
	f.Add("*", `"a, b" , c`, "")
	f.Fuzz(func(t *testing.T, vary, one, two string) {
		names, ok := VaryNames(http.Header{"Vary": {vary}})
		if ok && strings.Contains(","+strings.ReplaceAll(vary, " ", "")+",", ",*,") {
			t.Fatalf("%q was taken for a list of names: %q", vary, names)
		}
		h := http.Header{"Accept-Language": {one}, "Accept": {two}, "Foo": {one, two}, "Cookie": {one, two}}
		field := func(name string) []string { return h[name] }
		for name := range h {
			s := SelectorsOf([]string{name}, field)
			if !Selects(s, field) {
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
