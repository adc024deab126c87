package cache_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/cache"
)

// freshCase asks twice, with a step of the clock between.
type freshCase struct {
	name   string
	fields []string
	step   time.Duration
	rule   cache.Rule
	reused bool
}

// TestRFC9111Freshness is section 4.2 with its subsections.
func TestRFC9111Freshness(t *testing.T) {
	t.Parallel()
	const date = "Date: Sun, 01 Mar 2026 12:00:00 GMT"
	cc := func(v string) []string { return []string{"Cache-Control: " + v} }
	expires := func(v string) []string { return []string{date, "Expires: " + v} }
	cases := []freshCase{
		{name: "4.2.1: max-age not yet over", fields: cc("max-age=10"), step: 9 * time.Second, reused: true},
		{name: "4.2.1: max-age over", fields: cc("max-age=10"), step: 10 * time.Second},
		{name: "4.2.1: max-age=0", fields: cc("max-age=0")},
		{name: "4.2.1: s-maxage over max-age", fields: cc("max-age=1, s-maxage=60"), step: 5 * time.Second, reused: true},
		{name: "4.2.1: s-maxage shorter", fields: cc("max-age=60, s-maxage=1"), step: 5 * time.Second},
		{name: "4.2.1: max-age over Expires", fields: append(expires("Sun, 01 Mar 2026 11:00:00 GMT"), "Cache-Control: max-age=60"), reused: true},
		{name: "4.2.1: max-age=0 over a future Expires", fields: append(expires("Sun, 01 Mar 2026 13:00:00 GMT"), "Cache-Control: max-age=0")},
		{name: "4.2.1: s-maxage=0 over max-age", fields: cc("s-maxage=0, max-age=60")},
		{name: "4.2.1: the first of duplicates", fields: cc("max-age=60, max-age=1"), step: 5 * time.Second, reused: true},
		{name: "4.2.1: the first of duplicates on lines", fields: []string{"Cache-Control: max-age=1", "Cache-Control: max-age=60"}, step: 5 * time.Second},
		{name: "4.2.1: letters in max-age are stale", fields: cc("max-age=a60")},
		{name: "4.2.1: trailing letters in max-age are stale", fields: cc("max-age=60a")},
		{name: "4.2.1: a decimal max-age is stale", fields: cc("max-age=60.5")},
		{name: "4.2.1: a negative max-age is stale", fields: cc("max-age=-60")},
		{name: "4.2.1: an empty max-age is stale", fields: cc("max-age=")},
		{name: "4.2.1: max-age without a value is stale", fields: cc("max-age")},
		{name: "4.2.1: an invalid s-maxage hides max-age", fields: cc("s-maxage=x, max-age=60")},
		{name: "5.2: single quotes are no quotes", fields: cc("max-age='60'")},
		{name: "5.2: max-age as a quoted string", fields: cc(`max-age="60"`), reused: true},
		{name: "5.2: space before =", fields: cc("max-age =60")},
		{name: "5.2: space after =", fields: cc("max-age= 60")},
		{name: "5.2: unknown directives are ignored", fields: cc("foo=bar, max-age=60, baz"), reused: true},
		{name: "5.2: max-age inside a quoted extension is none", fields: cc(`ext="max-age=60", max-age=0`)},
		{name: "5.2: max-age inside a quoted extension after", fields: cc(`max-age=0, ext="max-age=60"`)},
		{name: "5.2: no-store inside a quoted extension is none", fields: cc(`ext="no-store, x", max-age=60`), reused: true},
		{name: "5.2: no-store after a quote that never ends", fields: cc(`max-age=60, ext="foo, no-store`)},
		{name: "5.2: an escaped quote", fields: cc(`ext="a\", max-age=0, b", max-age=60`), reused: true},
		{name: "5.2: names in any case", fields: cc("MaX-aGe=60"), reused: true},
		{name: "5.2: empty list members", fields: cc(", ,max-age=60,,"), reused: true},
		{name: "1.2.2: leading zeros", fields: cc("max-age=00060"), step: 50 * time.Second, reused: true},
		{name: "1.2.2: 2^31", fields: cc("max-age=2147483648"), reused: true},
		{name: "1.2.2: overflow is very long", fields: cc("max-age=99999999999999999999999"), reused: true},

		{name: "5.3: Expires in the future", fields: expires("Sun, 01 Mar 2026 12:01:00 GMT"), reused: true},
		{name: "5.3: Expires equals Date", fields: expires("Sun, 01 Mar 2026 12:00:00 GMT")},
		{name: "5.3: Expires in the past", fields: expires("Sun, 01 Mar 2026 11:00:00 GMT")},
		{name: "5.3: Expires over", fields: expires("Sun, 01 Mar 2026 12:01:00 GMT"), step: time.Minute},
		{name: "5.3: Expires 0", fields: expires("0")},
		{name: "5.3: Expires far in the future", fields: expires("Sun, 21 Nov 2286 04:46:39 GMT"), reused: true},
		{name: "5.3: Expires in RFC 850", fields: expires("Sunday, 01-Mar-26 12:01:00 GMT"), reused: true},
		{name: "5.3: Expires in asctime", fields: expires("Sun Mar  1 12:01:00 2026"), reused: true},
		{name: "4.2: month in another case", fields: expires("Sun, 01 mAr 2026 12:01:00 GMT"), reused: true},
		{name: "4.2: weekday in another case", fields: expires("sUN, 01 Mar 2026 12:01:00 GMT"), reused: true},
		{name: "4.2: zone in another case", fields: expires("Sun, 01 Mar 2026 12:01:00 gMT"), reused: true},
		{name: "4.2: another zone is invalid", fields: expires("Sun, 01 Mar 2026 12:01:00 AEST")},
		{name: "4.2: UTC is invalid", fields: expires("Sun, 01 Mar 2026 12:01:00 UTC")},
		{name: "4.2: no zone", fields: expires("Sun, 01 Mar 2026 12:01:00")},
		{name: "5.3: no comma", fields: expires("Sun 01 Mar 2026 12:01:00 GMT")},
		{name: "5.3: two spaces", fields: expires("Sun, 01  Mar 2026 12:01:00 GMT")},
		{name: "5.3: dashes", fields: expires("Sun, 01-Mar-2026 12:01:00 GMT")},
		{name: "5.3: dots in the time", fields: expires("Sun, 01 Mar 2026 12.01.00 GMT")},
		{name: "5.3: one-digit hour", fields: expires("Sun, 01 Mar 2026 3:01:00 GMT")},
		{name: "5.3: two-digit year", fields: expires("Sun, 01 Mar 27 12:01:00 GMT")},
		{name: "5.3: a day that is none", fields: expires("Tue, 30 Feb 2027 12:01:00 GMT")},
		{name: "5.3: the first of two lines", fields: append(expires("0"), "Expires: Sun, 01 Mar 2026 13:00:00 GMT")},
		{name: "5.3: Date slower than the cache's clock", fields: []string{"Date: Sun, 01 Mar 2026 11:00:00 GMT", "Expires: Sun, 01 Mar 2026 11:30:00 GMT"}},
		{name: "5.3: Date faster than the cache's clock", fields: []string{"Date: Sun, 01 Mar 2026 13:00:00 GMT", "Expires: Sun, 01 Mar 2026 13:01:00 GMT"}, reused: true},

		{name: "4.2.3: Age counts", fields: []string{"Cache-Control: max-age=60", "Age: 60"}},
		{name: "4.2.3: Age below", fields: []string{"Cache-Control: max-age=60", "Age: 50"}, step: 9 * time.Second, reused: true},
		{name: "4.2.3: Age and time add up", fields: []string{"Cache-Control: max-age=60", "Age: 50"}, step: 10 * time.Second},
		{name: "4.2.3: an old Date counts", fields: []string{"Cache-Control: max-age=60", "Date: Sun, 01 Mar 2026 11:50:00 GMT"}},
		{name: "5.1: of a list the first counts", fields: []string{"Cache-Control: max-age=60", "Age: 7200, 0"}},
		{name: "5.1: of a list the first counts, young", fields: []string{"Cache-Control: max-age=60", "Age: 0, 7200"}, reused: true},
		{name: "5.1: of lines the first counts", fields: []string{"Cache-Control: max-age=60", "Age: 7200", "Age: 0"}},
		{name: "5.1: letters are ignored", fields: []string{"Cache-Control: max-age=60", "Age: abc"}, reused: true},
		{name: "5.1: trailing letters are ignored", fields: []string{"Cache-Control: max-age=60", "Age: 7200a"}, reused: true},
		{name: "5.1: a parameter is ignored", fields: []string{"Cache-Control: max-age=60", "Age: 7200;foo=bar"}, reused: true},
		{name: "5.1: a negative age is ignored", fields: []string{"Cache-Control: max-age=60", "Age: -7200"}, reused: true},
		{name: "5.1: a decimal age is ignored", fields: []string{"Cache-Control: max-age=60", "Age: 7200.0"}, reused: true},
		{name: "5.1: an overflowing age is old", fields: []string{"Cache-Control: max-age=60", "Age: 99999999999999999999"}},

		{name: "4.2.2: heuristic not unless asked for", fields: []string{date, "Last-Modified: Sat, 28 Feb 2026 12:00:00 GMT"}},
		{name: "4.2.2: a tenth of the age", fields: []string{date, "Last-Modified: Sun, 01 Mar 2026 11:50:00 GMT"}, rule: cache.Rule{Heuristic: true}, step: 59 * time.Second, reused: true},
		{name: "4.2.2: no more than a tenth of the age", fields: []string{date, "Last-Modified: Sun, 01 Mar 2026 11:50:00 GMT"}, rule: cache.Rule{Heuristic: true}, step: time.Minute},
		{name: "4.2.2: not with explicit freshness", fields: append(expires("Sun, 01 Mar 2026 11:00:00 GMT"), "Last-Modified: Sat, 28 Feb 2026 12:00:00 GMT"), rule: cache.Rule{Heuristic: true}},
		{name: "4.2.2: not with an invalid Last-Modified", fields: []string{date, "Last-Modified: 2026-02-28"}, rule: cache.Rule{Heuristic: true}},

		{name: "5.2.2.4: no-cache", fields: cc("no-cache, max-age=60")},
		{name: "5.2.2.4: no-cache in any case", fields: cc("No-CaChE, max-age=60")},
		{name: "5.4: Pragma in a response means nothing", fields: []string{"Cache-Control: max-age=60", "Pragma: no-cache"}, reused: true},
		{name: "8246: immutable ends with its freshness", fields: cc("max-age=1, immutable"), step: 5 * time.Second},

		{name: "9213: CDN-Cache-Control over Cache-Control", fields: []string{"CDN-Cache-Control: max-age=60", "Cache-Control: max-age=1"}, step: 5 * time.Second, reused: true},
		{name: "9213: CDN-Cache-Control over no-store", fields: []string{"CDN-Cache-Control: max-age=60", "Cache-Control: no-store"}, reused: true},
		{name: "9213: CDN-Cache-Control no-store", fields: []string{"CDN-Cache-Control: no-store", "Cache-Control: max-age=60"}},
		{name: "9213: CDN-Cache-Control private", fields: []string{"CDN-Cache-Control: private", "Cache-Control: max-age=60"}},
		{name: "9213: CDN-Cache-Control no-cache", fields: []string{"CDN-Cache-Control: no-cache", "Cache-Control: max-age=60"}},
		{name: "9213: CDN-Cache-Control max-age=0", fields: []string{"CDN-Cache-Control: max-age=0", "Cache-Control: max-age=60"}},
		{name: "9213: CDN-Cache-Control over Expires", fields: append(expires("0"), "CDN-Cache-Control: max-age=60"), reused: true},
		{name: "9213: Age counts", fields: []string{"CDN-Cache-Control: max-age=60", "Age: 61"}},
		{name: "9213: an invalid field falls back", fields: []string{"CDN-Cache-Control: max-age=60,", "Cache-Control: max-age=1"}, step: 5 * time.Second},
		{name: "9213: upper-case keys are invalid", fields: []string{"CDN-Cache-Control: Max-Age=0", "Cache-Control: max-age=60"}, reused: true},
		{name: "9213: an empty field falls back", fields: []string{"CDN-Cache-Control: ", "Cache-Control: max-age=60"}, reused: true},
		{name: "9213: a string is no integer", fields: []string{`CDN-Cache-Control: max-age="60"`}},
		{name: "9213: a decimal is no integer", fields: []string{`CDN-Cache-Control: max-age=60.0`}},
		{name: "9213 2.1: a value of the wrong type is not consumed, and the field still counts", fields: []string{`CDN-Cache-Control: max-age="60"`, "Cache-Control: max-age=60"}},
		{name: "9213 2.1: more digits than an integer has is invalid and falls back", fields: []string{"CDN-Cache-Control: max-age=9999999999999999", "Cache-Control: max-age=1"}, step: 5 * time.Second},
		{name: "9213 2.1: as many digits as an integer has", fields: []string{"CDN-Cache-Control: max-age=999999999999999", "Cache-Control: no-store"}, reused: true},
		{name: "9213 2.1: lines are one dictionary", fields: []string{"CDN-Cache-Control: public", "CDN-Cache-Control: max-age=60", "Cache-Control: no-store"}, reused: true},
		{name: "8941 3.2: of duplicate keys the last counts", fields: []string{"CDN-Cache-Control: max-age=1, max-age=60"}, step: 5 * time.Second, reused: true},
		{name: "8941 3.2: no-store=?0 is not no-store", fields: []string{"CDN-Cache-Control: no-store=?0, max-age=60"}, reused: true},
		{name: "1.2.2: a sign is no digit", fields: cc("max-age=+60")},
		{name: "5.2: a semicolon separates nothing", fields: cc("max-age=60; foo")},
		{name: "5.2: tabs around members", fields: cc("foo,\tmax-age=60\t,bar"), reused: true},
		{name: "5.1: an empty first member is ignored as a whole", fields: []string{"Cache-Control: max-age=60", "Age: , 7200"}, reused: true},
		{name: "9213: an unknown member with parameters", fields: []string{`CDN-Cache-Control: max-age=60;a=b, foo=(1 2)`}, reused: true},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, withRule(tc.rule))
			s.serves(200, "body", tc.fields...)
			s.get("/x")
			s.clock.step(tc.step)
			got := s.get("/x")
			if reused := s.calls.Load() == 1; reused != tc.reused {
				t.Fatalf("reused: %v, want %v (%s)", reused, tc.reused, got.cacheStatus())
			}
		})
	}
}

// TestRFC9111AgeOfAReusedResponse is section 4.2.3: Age on every hit, once.
func TestRFC9111AgeOfAReusedResponse(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		s.clock.step(3 * time.Second) // the response's delay counts
		w.Header().Set("Cache-Control", "max-age=100")
		w.Header().Set("Age", "10")
		w.Header().Set("Date", "Sun, 01 Mar 2026 12:00:03 GMT")
	})
	s.get("/x")
	s.clock.step(7 * time.Second)
	got := s.get("/x")
	if ages := got.Header["Age"]; len(ages) != 1 || ages[0] != "20" {
		t.Fatalf("Age %q, want one of 20", ages)
	}
	if got.Header.Get("Date") != "Sun, 01 Mar 2026 12:00:03 GMT" {
		t.Fatalf("Date %q was changed", got.Header.Get("Date"))
	}
}

// TestRFC9111Vary is section 4.1.
func TestRFC9111Vary(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name          string
		vary          []string
		first, second []string
		reused        bool
		encoding      string
	}{
		{name: "the same value", vary: []string{"Foo"}, first: []string{"Foo: 1"}, second: []string{"Foo: 1"}, reused: true},
		{name: "another value", vary: []string{"Foo"}, first: []string{"Foo: 1"}, second: []string{"Foo: 2"}},
		{name: "absent then present", vary: []string{"Foo"}, second: []string{"Foo: 1"}},
		{name: "present then absent", vary: []string{"Foo"}, first: []string{"Foo: 1"}},
		{name: "absent is not empty", vary: []string{"Foo"}, second: []string{"Foo: "}},
		{name: "both absent", vary: []string{"Foo"}, reused: true},
		{name: "other fields do not matter", vary: []string{"Foo"}, first: []string{"Foo: 1", "Bar: 1"}, second: []string{"Foo: 1", "Bar: 2"}, reused: true},
		{name: "two fields, one differs", vary: []string{"Foo, Bar"}, first: []string{"Foo: 1", "Bar: 1"}, second: []string{"Foo: 1", "Bar: 2"}},
		{name: "two fields alike", vary: []string{"Foo, Bar"}, first: []string{"Foo: 1", "Bar: 1"}, second: []string{"Bar: 1", "Foo: 1"}, reused: true},
		{name: "two lines", vary: []string{"Foo", "Bar"}, first: []string{"Foo: 1", "Bar: 1"}, second: []string{"Foo: 1", "Bar: 2"}},
		{name: "names in any case", vary: []string{"fOO"}, first: []string{"Foo: 1"}, second: []string{"Foo: 1"}, reused: true},
		{name: "* never matches", vary: []string{"*"}},
		{name: "* among others never matches", vary: []string{"Foo, *"}},
		{name: "* first never matches", vary: []string{"*, Foo"}},
		{name: "* twice never matches", vary: []string{"*", "*"}},
		{name: "* after empty members", vary: []string{", *"}},
		{name: "space around members", vary: []string{"Foo"}, first: []string{"Foo: 1,2"}, second: []string{"Foo: 1 ,  2"}, reused: true},
		{name: "lines are combined", vary: []string{"Foo"}, first: []string{"Foo: 1, 2"}, second: []string{"Foo: 1", "Foo: 2"}, reused: true},
		{name: "order matters in unknown fields", vary: []string{"Foo"}, first: []string{"Foo: 1, 2"}, second: []string{"Foo: 2, 1"}},
		{name: "letter case matters in unknown fields", vary: []string{"Foo"}, first: []string{"Foo: a"}, second: []string{"Foo: A"}},
		{name: "space inside quotes matters", vary: []string{"Foo"}, first: []string{`Foo: "a, b"`}, second: []string{`Foo: "a,b"`}},
		{name: "language: letter case", vary: []string{"Accept-Language"}, first: []string{"Accept-Language: en, de"}, second: []string{"Accept-Language: eN, De"}, reused: true},
		{name: "language: space", vary: []string{"Accept-Language"}, first: []string{"Accept-Language: en,de;q=0.5"}, second: []string{"Accept-Language: en , de; q=0.5"}, reused: true},
		{name: "language: order", vary: []string{"Accept-Language"}, first: []string{"Accept-Language: en, de"}, second: []string{"Accept-Language: de, en"}, reused: true},
		{name: "language: another", vary: []string{"Accept-Language"}, first: []string{"Accept-Language: en"}, second: []string{"Accept-Language: de"}},
		{name: "language: a weight of 1", vary: []string{"Accept-Language"}, first: []string{"Accept-Language: en, de;q=0.5"}, second: []string{"Accept-Language: en;q=1.0, de;q=0.5"}, reused: true},
		{name: "encoding: weights of one order", vary: []string{"Accept-Encoding"}, first: []string{"Accept-Encoding: br, gzip;q=0.8"}, second: []string{"Accept-Encoding: gzip;q=0.01, BR;q=0.02"}, reused: true},
		{name: "encoding: weights of another order", vary: []string{"Accept-Encoding"}, first: []string{"Accept-Encoding: br, gzip;q=0.8"}, second: []string{"Accept-Encoding: gzip, br;q=0.8"}},
		{name: "encoding: what is not acceptable", vary: []string{"Accept-Encoding"}, first: []string{"Accept-Encoding: gzip"}, second: []string{"Accept-Encoding: gzip, br;q=0"}, reused: true},
		{name: "encoding: no identity", vary: []string{"Accept-Encoding"}, first: []string{"Accept-Encoding: gzip"}, second: []string{"Accept-Encoding: gzip, *;q=0"}},
		{name: "encoding: identity, said or unsaid", vary: []string{"Accept-Encoding"}, first: []string{"Accept-Encoding: gzip"}, second: []string{"Accept-Encoding: gzip, identity;q=0.5"}, reused: true},
		{name: "encoding: identity preferred", vary: []string{"Accept-Encoding"}, first: []string{"Accept-Encoding: gzip"}, second: []string{"Accept-Encoding: gzip;q=0.5, identity"}},
		{name: "encoding: another name", vary: []string{"Accept-Encoding"}, first: []string{"Accept-Encoding: gzip"}, second: []string{"Accept-Encoding: x-gzip"}, reused: true},
		{name: "encoding: an unregistered coding", vary: []string{"Accept-Encoding"}, first: []string{"Accept-Encoding: gzip"}, second: []string{"Accept-Encoding: gzip, odd"}, reused: true},
		{name: "encoding: malformed", vary: []string{"Accept-Encoding"}, first: []string{"Accept-Encoding: gzip"}, second: []string{"Accept-Encoding: gzip;q=high"}},
		{name: "encoding: an unregistered coding for a client that accepts it less", first: []string{"Accept-Encoding: gzip, odd"}, second: []string{"Accept-Encoding: odd;q=0.1, gzip;q=1"}, encoding: "odd"},
		{name: "encoding: an unregistered coding for a client that accepts it alike", first: []string{"Accept-Encoding: gzip, odd"}, second: []string{"Accept-Encoding: odd , GZIP"}, encoding: "odd", reused: true},
		{name: "encoding: an unregistered coding that the first client does not accept", first: []string{"Accept-Encoding: gzip"}, second: []string{"Accept-Encoding: gzip"}, encoding: "odd", reused: true},
		{name: "encoding: an unregistered coding by *", first: []string{"Accept-Encoding: gzip, odd"}, second: []string{"Accept-Encoding: gzip, br;q=0, *;q=0.5"}, encoding: "odd"},
		{name: "encoding: an unregistered coding for no other client", first: []string{"Accept-Encoding: gzip, odd"}, second: []string{"Accept-Encoding: gzip"}, encoding: "odd"},
		{name: "encoding: an unregistered coding that is refused", first: []string{"Accept-Encoding: gzip, odd"}, second: []string{"Accept-Encoding: gzip, odd;q=0, *;q=0.5"}, encoding: "odd"},
		{name: "an encoded body varies, said or unsaid", first: []string{"Accept-Encoding: gzip"}, encoding: "gzip"},
		{name: "an encoded body for whoever accepts it", first: []string{"Accept-Encoding: gzip, br"}, second: []string{"Accept-Encoding: br,gzip"}, encoding: "gzip", reused: true},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			fields := []string{"Cache-Control: max-age=60"}
			for _, v := range tc.vary {
				fields = append(fields, "Vary: "+v)
			}
			if tc.encoding != "" {
				fields = append(fields, "Content-Encoding: "+tc.encoding)
			}
			s.serves(200, "body", fields...)
			s.get("/x", tc.first...)
			s.get("/x", tc.second...)
			if reused := s.calls.Load() == 1; reused != tc.reused {
				t.Fatalf("reused: %v, want %v", reused, tc.reused)
			}
		})
	}
	t.Run("variants are kept side by side", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.respond(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Vary", "Foo")
			w.Write([]byte(r.Header.Get("Foo")))
		})
		for range 2 {
			for _, v := range []string{"1", "2", "3"} {
				if got := s.get("/x", "Foo: "+v); got.body != v {
					t.Fatalf("Foo %s got %q", v, got.body)
				}
			}
		}
		s.expectCalls(3)
	})
	t.Run("no more than 32 variants are kept", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		s.serves(200, "body", "Cache-Control: max-age=60", "Vary: Foo")
		for i := range 40 {
			s.get("/x", "Foo: "+strings.Repeat("x", i))
		}
		s.expectCalls(40)
		for i := range 40 {
			s.get("/x", "Foo: "+strings.Repeat("x", i))
		}
		if n := s.calls.Load(); n < 48 {
			t.Fatalf("%d requests to the origin: more than 32 variants were kept", n)
		}
	})
	t.Run("4: of several the most recent one", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		serve := func(body, vary string) {
			s.serves(200, body, "Cache-Control: max-age=600", "Vary: "+vary, "Date: "+s.clock.Now().Format(http.TimeFormat))
		}
		serve("older", "Foo")
		s.get("/x", "Foo: 1", "Bar: 1")
		s.clock.step(10 * time.Second)
		serve("newer", "Bar")
		s.get("/x", "Foo: 2", "Bar: 1")
		if got := s.get("/x", "Foo: 1", "Bar: 1"); got.body != "newer" {
			t.Fatalf("got the %s one", got.body)
		}
		s.expectCalls(2)
	})
}
