package ratelimit_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/ratelimit"
)

// sameCounter reports whether two requests fall into one counter of a limit
// with this key.
func sameCounter(t testing.TB, key string, a, b *ratelimit.Request) bool {
	t.Helper()
	parts, err := ratelimit.ParseKey(strings.Fields(key)...)
	if err != nil {
		t.Fatal(err)
	}
	l := newLimiter(t, newCounters(t, ratelimit.CountersOptions{}), ratelimit.Limit{
		Name: "x", Algorithm: ratelimit.FixedWindow, Key: parts, Requests: 1, Window: time.Hour,
	})
	if !check(l, a).Allowed() {
		t.Fatal("the first request is denied")
	}
	return !check(l, b).Allowed()
}

func TestWhoSharesACounter(t *testing.T) {
	t.Parallel()
	request := func(edits ...func(*ratelimit.Request)) *ratelimit.Request {
		r := from("192.0.2.1")
		r.Header = http.Header{}
		for _, edit := range edits {
			edit(r)
		}
		return r
	}
	addr := func(a string) func(*ratelimit.Request) {
		return func(r *ratelimit.Request) { r.Addr = netip.MustParseAddr(a) }
	}
	bucket := func(a string) func(*ratelimit.Request) {
		return func(r *ratelimit.Request) { r.Bucket = netip.MustParseAddr(a) }
	}
	header := func(name, value string) func(*ratelimit.Request) {
		return func(r *ratelimit.Request) { r.Header.Set(name, value) }
	}
	user := func(u string) func(*ratelimit.Request) { return func(r *ratelimit.Request) { r.User = u } }
	client := func(u string) func(*ratelimit.Request) { return func(r *ratelimit.Request) { r.Client = u } }
	route := func(u string) func(*ratelimit.Request) { return func(r *ratelimit.Request) { r.Route = u } }
	method := func(u string) func(*ratelimit.Request) { return func(r *ratelimit.Request) { r.Method = u } }
	host := func(u string) func(*ratelimit.Request) { return func(r *ratelimit.Request) { r.Host = u } }
	query := func(q string) func(*ratelimit.Request) { return func(r *ratelimit.Request) { r.Query = q } }
	id := func(v string) func(*ratelimit.Request) {
		return func(r *ratelimit.Request) { r.Params = params{"id": v} }
	}
	long := strings.Repeat("x", 1024)

	for name, tt := range map[string]struct {
		key  string
		a, b *ratelimit.Request
		same bool
	}{
		"a path's parameter":                {"param:id", request(id("7")), request(id("7"), addr("192.0.2.2")), true},
		"two values of it":                  {"param:id", request(id("7")), request(id("8")), false},
		"its ;parameters":                   {"param:id", request(id("7;a=1")), request(id("7%3Bb")), true},
		"its escapes":                       {"param:id", request(id("a%21%C3%A4")), request(id("a!\xc3\xa4")), true},
		"its case":                          {"param:id", request(id("a")), request(id("A")), false},
		"a plus sign in it":                 {"param:id", request(id("a+b")), request(id("a b")), false},
		"a percent sign in it":              {"param:id", request(id("5%")), request(id("5%25")), true},
		"no parameter: the address":         {"param:id", request(), request(id("7")), false},
		"none at one address":               {"param:id", request(), request(id("")), true},
		"a parameter is not an address":     {"param:id", request(), request(id("192.0.2.1")), false},
		"a parameter, by address":           {"ip param:id", request(id("7")), request(id("7"), addr("192.0.2.2")), false},
		"a parameter is not the query's":    {"param:id query:id", request(id("7")), request(query("id=7")), false},
		"of two long values the beginning":  {"param:id", request(id(long + "a")), request(id(long + "b")), true},
		"a query's parameter":               {"query:q", request(query("q=7")), request(query("x=1&q=7&y"), addr("192.0.2.2")), true},
		"two values of the query":           {"query:q", request(query("q=7")), request(query("q=8")), false},
		"escapes in the query":              {"query:q", request(query("%71=a%20b")), request(query("q=a+b")), true},
		"a name in capitals is another":     {"query:q", request(query("Q=7")), request(query("q=7")), false},
		"an empty value is none":            {"query:q", request(query("q=")), request(), true},
		"a name without a value is none":    {"query:q", request(query("q")), request(query("x=1")), true},
		"one value twice":                   {"query:q", request(query("q=7&q=%37")), request(query("q=7")), true},
		"two values are none":               {"query:q", request(query("q=7&q=8")), request(query("q=8&q=9")), true},
		"two values, and neither of them":   {"query:q", request(query("q=7&q=8")), request(query("q=8")), false},
		"none of a value and an empty one":  {"query:q", request(query("q=7&q=")), request(), true},
		"two values from two addresses":     {"query:q", request(query("q=7&q=8")), request(query("q=7&q=8"), addr("192.0.2.2")), false},
		"a semicolon separates":             {"query:q", request(query("q=7;x=1")), request(query("q=7")), true},
		"a second value behind a semicolon": {"query:q", request(query("q=7;q=8")), request(), true},
		"broken escapes are what they are":  {"query:q", request(query("q=%zz")), request(query("q=%25zz")), true},
		"a zero octet ends nothing":         {"query:q", request(query("q=a%00b")), request(query("q=a")), false},
		"of two long queries the beginning": {"query:q", request(query("q=" + long + "a")), request(query("q=" + long + "b")), true},
		"a name in brackets":                {"query:f[id]", request(query("f%5Bid%5D=7")), request(query("f[id]=7")), true},
		"one address":                       {"ip", request(), request(), true},
		"two addresses":                     {"ip", request(), request(addr("192.0.2.2")), false},
		"one IPv6 prefix":                   {"ip", request(addr("2001:db8::1"), bucket("2001:db8::")), request(addr("2001:db8::2"), bucket("2001:db8::")), true},
		"one user, two addresses":           {"user", request(user("42")), request(user("42"), addr("192.0.2.2")), true},
		"no user: the address":              {"user", request(), request(), true},
		"no user, two addresses":            {"user", request(), request(addr("192.0.2.2")), false},
		"a user is not an address":          {"user", request(), request(user("192.0.2.1")), false},
		"a user is not a client":            {"user client", request(user("a"), client("b")), request(user("b"), client("a")), false},
		"values are not run together":       {"header:A header:B", request(header("A", "x|y"), header("B", "z")), request(header("A", "x"), header("B", "y|z")), false},
		"nor can a NUL do it":               {"header:A header:B", request(header("A", "x\x00"), header("B", "z")), request(header("A", "x"), header("B", "\x00z")), false},
		"a missing header: the address":     {"header:A", request(), request(header("A", "")), true},
		"a cookie among others":             {"cookie:id", request(header("Cookie", "a=b; id=7; c=d")), request(header("Cookie", "id=7")), true},
		"a cookie whose name ends alike":    {"cookie:id", request(header("Cookie", "xid=7")), request(header("Cookie", "id=7")), false},
		"HEAD counts as GET":                {"method", request(method("GET")), request(method("HEAD")), true},
		"made-up methods count as one":      {"method", request(method("BREW")), request(method("WHEN")), true},
		"GET is not POST":                   {"method", request(method("GET")), request(method("POST")), false},
		"a host in capitals with a port":    {"host", request(host("example.com")), request(host("Example.COM.:8080")), true},
		"an IPv6 host":                      {"host", request(host("[::1]")), request(host("[::1]:80")), true},
		"an address on two routes":          {"ip route", request(route("a")), request(route("b")), false},
		"a route, whoever asks":             {"route", request(), request(addr("192.0.2.2")), true},
		"the order of parts is no matter":   {"route ip", request(route("a")), request(route("a")), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := sameCounter(t, tt.key, tt.a, tt.b); got != tt.same {
				t.Fatalf("share a counter: %v", got)
			}
		})
	}
}

// params are the parameters of a path, as a router has matched them.
type params map[string]string

func (p params) Param(name string) string { return p[name] }

func TestKeysAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"ip": "ip", "user": "user", "header:x-tenant": "header:X-Tenant", "cookie:Id": "cookie:Id",
		"param:id": "param:id", "query:f[id]": "query:f[id]", "query:Q": "query:Q",
		"param": "error", "param:": "error", "query:": "error", "query:a b": "error", "query:\xff": "error", "query:a\n": "error",
		"": "error", "IP": "error", "header": "error", "header:": "error", "ip:x": "error",
		"header:a b": "error", "cookie:a;b": "error", "header:é": "error", "tenant": "error",
	} {
		p, err := ratelimit.ParseKeyPart(s)
		got := p.String()
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %s, want %s (%v)", s, got, want, err)
		}
	}
}

func FuzzParseKeyPart(f *testing.F) {
	for _, s := range []string{"ip", "header:X-A", "cookie:a", "header:", ":", "session:x", "param:id", "query:f[id]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ratelimit.ParseKeyPart(s)
		if err != nil {
			return
		}
		again, err := ratelimit.ParseKeyPart(p.String())
		if err != nil || again != p {
			t.Fatalf("%q is read as %v, and that as %v, %v", s, p, again, err)
		}
	})
}

// FuzzClientInput gives limits whatever a client may send: nothing of it may
// panic, and what differs must not share a counter.
func FuzzClientInput(f *testing.F) {
	f.Add("a=b; id=7", "example.com:80", "GET", "tenant", "q=7&q=%37", "7;a=1")
	f.Add(";;=;id", "[::1", "\x00", "", "q", "%3B")
	f.Add("id=\xff; id=2", ":", "é", "a,b", "%71=%;q=+", "%zz%")
	key, err := ratelimit.ParseKey("cookie:id", "host", "method", "header:X-Tenant", "query:q", "param:id")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, cookies, host, method, tenant, query, id string) {
		l := newLimiter(t, newCounters(t, ratelimit.CountersOptions{}), ratelimit.Limit{Name: "x", Key: key, Requests: 1, Window: time.Hour})
		r := from("192.0.2.1")
		r.Host, r.Method, r.Query, r.Params = host, method, query, params{"id": id}
		r.Header = http.Header{"Cookie": {cookies}, "X-Tenant": {tenant}}
		if !check(l, r).Allowed() || check(l, r).Allowed() {
			t.Fatal("one request is not one request")
		}
		other := *r
		other.Header = http.Header{"Cookie": {cookies}, "X-Tenant": {tenant + "x"}}
		if !check(l, &other).Allowed() {
			t.Fatal("two tenants share a counter")
		}
	})
}
