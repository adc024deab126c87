package policies_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/headgate/headgate/policies"
)

func TestPathsAreBroughtIntoOneForm(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, raw, want string }{
		{"normal already", "/a/b-c_d.e~f", "/a/b-c_d.e~f"},
		{"empty", "", "/"},
		{"reserved characters stay", "/a!$&'()*+,;=:@b", "/a!$&'()*+,;=:@b"},
		{"unreserved octets are decoded", "/%61%2D%5f%7e", "/a-_~"},
		{"escaped reserved ones stay escaped, in upper case", "/%2f%3f%21%3b", "/%2F%3F%21%3B"},
		{"slashes are merged", "//a///b//", "/a/b/"},
		{"dot segments are removed", "/a/./b/../c", "/a/c"},
		{"and do not climb over the root", "/../../a", "/a"},
		{"a last dot segment leaves a slash", "/a/b/..", "/a/"},
		{"a last single dot, too", "/a/.", "/a/"},
		{"all of it gone leaves the root", "/a/..", "/"},
		{"escaped dots are dots", "/a/%2e%2E/b", "/b"},
		{"half escaped, too", "/a/.%2e/b", "/b"},
		{"merging comes before dots", "/a//../b", "/b"},
		{"three dots are a name", "/a/.../b", "/a/.../b"},
		{"hidden files are names", "/.well-known/x", "/.well-known/x"},
		{"illegal octets are encoded", "/a|b\"<>^`{} ä", "/a%7Cb%22%3C%3E%5E%60%7B%7D%20%C3%A4"},
		{"brackets are illegal in a path", "/[x]", "/%5Bx%5D"},
		{"a backslash is an octet like others", `/a\b`, "/a%5Cb"},
		{"double escapes are not undone", "/%252e%252e/x", "/%252e%252e/x"},
		{"an escaped slash between names", "/a%2Fb", "/a%2Fb"},
		{"parameters of a name", "/a;x=1/..b", "/a;x=1/..b"},
		{"names with dots near hidden slashes", "/a%2F..b", "/a%2F..b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := policies.NormalizePath(tt.raw)
			if err != nil || got.RawPath != tt.want {
				t.Errorf("NormalizePath(%q) = %q, %v; want %q", tt.raw, got.RawPath, err, tt.want)
			}
		})
	}
}

func TestPathsThatServersMayReadInTwoWaysAreRefused(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"*", "a", "http://h/x",
		"/%00", "/a%00b", "/\x00", "/%", "/%4", "/%zz", "/a%2",
		"/..%2Fadmin", "/a%2f..", "/a%2F..%2fb", "/a%2F.", "/.%2F", "/..%5Cadmin", `/..\admin`, `/a\..\b`, `/a\.`,
		"/%2e%2e%2Fadmin", "/a%5c%2e%2e", "/a/b%2F../../c",
		"/..;/admin", "/.;x/admin", "/..;x=1", "/%2e%2e;/x", "/..%3B/x", "/a%2F..;b/x", "/|/..%2Fadmin/x",
	} {
		if got, err := policies.NormalizePath(raw); err == nil {
			t.Errorf("NormalizePath(%q) = %q, want an error", raw, got.RawPath)
		}
	}
}

func TestHostsAreBroughtIntoOneForm(t *testing.T) {
	t.Parallel()
	tests := []struct{ raw, scheme, name, authority string }{
		{"", "http", "", ""},
		{"example.com", "http", "example.com", "example.com"},
		{"EXAMPLE.Com.", "http", "example.com", "example.com"},
		{"example.com:80", "http", "example.com", "example.com"},
		{"example.com:443", "https", "example.com", "example.com"},
		{"example.com:443", "http", "example.com", "example.com:443"},
		{"Example.com.:0808", "http", "example.com", "example.com:808"},
		{"example.com:", "http", "example.com", "example.com"},
		{"example.com:080", "http", "example.com", "example.com"},
		{"my_host:8080", "http", "my_host", "my_host:8080"},
		{"xn--bcher-kva.example", "http", "xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"192.0.2.1:81", "http", "192.0.2.1", "192.0.2.1:81"},
		{"[::1]", "http", "[::1]", "[::1]"},
		{"[0:0:0:0:0:0:0:1]:8080", "http", "[::1]", "[::1]:8080"},
		{"[2001:DB8::A]:443", "https", "[2001:db8::a]", "[2001:db8::a]"},
	}
	for _, tt := range tests {
		got, err := policies.NormalizeHost(tt.raw, tt.scheme)
		if err != nil || got.Name != tt.name || got.Authority != tt.authority {
			t.Errorf("NormalizeHost(%q, %s) = %+v, %v; want %q and %q", tt.raw, tt.scheme, got, err, tt.name, tt.authority)
		}
	}
	for _, raw := range []string{
		":80", ".", "..", "a..b", ".a", "a:b", "a:0", "a:65536", "a:+1", "a:1:2", "a b", "a/b", `a\b`, "a@b", "a%41", "a,b", "bücher.example",
		"[::1", "[::1]x", "[::1]:x", "[1.2.3.4]", "[fe80::1%25eth0]", "::1", "a\x00", strings.Repeat("a", 254),
	} {
		if got, err := policies.NormalizeHost(raw, "http"); err == nil {
			t.Errorf("NormalizeHost(%q) = %+v, want an error", raw, got)
		}
	}
}

func TestNormalPathsAndHostsCostNoAllocation(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		if _, err := policies.NormalizePath("/api/products/42"); err != nil {
			t.Fatal(err)
		}
		if _, err := policies.NormalizeHost("shop.example.com:8080", "http"); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// FuzzNormalizePath: one form, which is what is routed and what is forwarded, and no dot segments in it even
// for a server that decodes once more, takes backslashes for slashes and cuts off parameters.
func FuzzNormalizePath(f *testing.F) {
	for _, seed := range []string{"", "/", "/a/b", "/|/..%2Fadmin/x", "/%2e%2e/x", "//a//..;x/", `/a\..\b`, "/%00", "/a%252e", "/ä ", "/a;b=c/%3B", "/.%2e%5c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		n, err := policies.NormalizePath(raw)
		if err != nil {
			return
		}
		again, err := policies.NormalizePath(n.RawPath)
		if err != nil || again != n {
			t.Fatalf("%q: normalised twice gives %+v, %v; once %+v", raw, again, err, n)
		}
		forwarded := (&url.URL{Path: n.Path, RawPath: n.RawPath}).EscapedPath()
		if forwarded != n.RawPath {
			t.Fatalf("%q: %q is routed and %q is forwarded", raw, n.RawPath, forwarded)
		}
		parsed, err := url.ParseRequestURI("http://h" + forwarded)
		if err != nil || policies.RawPath(parsed) != n.RawPath || parsed.Path != n.Path {
			t.Fatalf("%q: parsed again it is %+v, %v", raw, parsed, err)
		}
		for _, s := range strings.FieldsFunc(n.Path, func(r rune) bool { return r == '/' || r == '\\' }) {
			if s, _, _ = strings.Cut(s, ";"); s == "." || s == ".." {
				t.Fatalf("%q: decoded it is %q, with a dot segment", raw, n.Path)
			}
		}
		if strings.Contains(n.RawPath, "//") || n.RawPath[0] != '/' || strings.ContainsRune(n.Path, 0) {
			t.Fatalf("%q: normalised to %q", raw, n.RawPath)
		}
	})
}

// FuzzRouting: what a client sends is routed as the bytes that the app server gets are, through net/url's eyes.
func FuzzRouting(f *testing.F) {
	for _, seed := range []string{"/admin/x", "/|/..%2Fadmin/x", "/%61dmin/", "/public/../admin", "/public//..//admin", "/public/%2e%2e/admin"} {
		f.Add(seed)
	}
	m := matcher(f, route("/admin/*"), route("/public/*"), route("/:x/y"), route("/*"))
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || u.Host != "" || u.Opaque != "" {
			return
		}
		n, err := policies.NormalizePath(policies.RawPath(u))
		if err != nil {
			return
		}
		routed := m.Match(&policies.Request{Path: n.RawPath})
		u.Path, u.RawPath = n.Path, n.RawPath
		arrived, err := url.ParseRequestURI(u.RequestURI())
		if err != nil {
			t.Fatalf("%q is forwarded as %q: %v", target, u.RequestURI(), err)
		}
		if there := m.Match(&policies.Request{Path: policies.RawPath(arrived)}); there.Index != routed.Index {
			t.Fatalf("%q: routed to %d, and the server sees what is %d", target, routed.Index, there.Index)
		}
	})
}

func FuzzNormalizeHost(f *testing.F) {
	for _, seed := range []string{"", "a", "A.:80", "[::1]:8080", "a:b", "[::ffff:1.2.3.4]"} {
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, raw string, tls bool) {
		scheme := "http"
		if tls {
			scheme = "https"
		}
		n, err := policies.NormalizeHost(raw, scheme)
		if err != nil {
			return
		}
		again, err := policies.NormalizeHost(n.Authority, scheme)
		if err != nil || again != n {
			t.Fatalf("%q: normalised twice gives %+v, %v; once %+v", raw, again, err, n)
		}
		if u, err := url.Parse("http://" + n.Authority + "/"); err != nil || u.Host != n.Authority {
			t.Fatalf("%q: %q is no host to net/url: %v", raw, n.Authority, err)
		}
	})
}

func BenchmarkNormalizePath(b *testing.B) {
	for _, path := range []string{"/api/products/42", "/caf%C3%A9/%7Ejoe/../x"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := policies.NormalizePath(path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
