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

	for name, tt := range map[string]struct {
		key  string
		a, b *ratelimit.Request
		same bool
	}{
		"one address":                     {"ip", request(), request(), true},
		"two addresses":                   {"ip", request(), request(addr("192.0.2.2")), false},
		"one IPv6 prefix":                 {"ip", request(addr("2001:db8::1"), bucket("2001:db8::")), request(addr("2001:db8::2"), bucket("2001:db8::")), true},
		"one user, two addresses":         {"user", request(user("42")), request(user("42"), addr("192.0.2.2")), true},
		"no user: the address":            {"user", request(), request(), true},
		"no user, two addresses":          {"user", request(), request(addr("192.0.2.2")), false},
		"a user is not an address":        {"user", request(), request(user("192.0.2.1")), false},
		"a user is not a client":          {"user client", request(user("a"), client("b")), request(user("b"), client("a")), false},
		"values are not run together":     {"header:A header:B", request(header("A", "x|y"), header("B", "z")), request(header("A", "x"), header("B", "y|z")), false},
		"nor can a NUL do it":             {"header:A header:B", request(header("A", "x\x00"), header("B", "z")), request(header("A", "x"), header("B", "\x00z")), false},
		"a missing header: the address":   {"header:A", request(), request(header("A", "")), true},
		"a cookie among others":           {"cookie:id", request(header("Cookie", "a=b; id=7; c=d")), request(header("Cookie", "id=7")), true},
		"a cookie whose name ends alike":  {"cookie:id", request(header("Cookie", "xid=7")), request(header("Cookie", "id=7")), false},
		"HEAD counts as GET":              {"method", request(method("GET")), request(method("HEAD")), true},
		"made-up methods count as one":    {"method", request(method("BREW")), request(method("WHEN")), true},
		"GET is not POST":                 {"method", request(method("GET")), request(method("POST")), false},
		"a host in capitals with a port":  {"host", request(host("example.com")), request(host("Example.COM.:8080")), true},
		"an IPv6 host":                    {"host", request(host("[::1]")), request(host("[::1]:80")), true},
		"an address on two routes":        {"ip route", request(route("a")), request(route("b")), false},
		"a route, whoever asks":           {"route", request(), request(addr("192.0.2.2")), true},
		"the order of parts is no matter": {"route ip", request(route("a")), request(route("a")), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := sameCounter(t, tt.key, tt.a, tt.b); got != tt.same {
				t.Fatalf("share a counter: %v", got)
			}
		})
	}
}

func TestKeysAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"ip": "ip", "user": "user", "header:x-tenant": "header:X-Tenant", "cookie:Id": "cookie:Id",
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
	for _, s := range []string{"ip", "header:X-A", "cookie:a", "header:", ":", "session:x"} {
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
	f.Add("a=b; id=7", "example.com:80", "GET", "tenant")
	f.Add(";;=;id", "[::1", "\x00", "")
	f.Add("id=\xff; id=2", ":", "é", "a,b")
	key, err := ratelimit.ParseKey("cookie:id", "host", "method", "header:X-Tenant")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, cookies, host, method, tenant string) {
		l := newLimiter(t, newCounters(t, ratelimit.CountersOptions{}), ratelimit.Limit{Name: "x", Key: key, Requests: 1, Window: time.Hour})
		r := from("192.0.2.1")
		r.Host, r.Method = host, method
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
