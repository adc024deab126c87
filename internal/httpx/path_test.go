package httpx_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/httpx"
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
		{"escaped slashes at either end", "/%2Fa/b%2f", "/%2Fa/b%2F"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := httpx.NormalizePath(tt.raw)
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
		"/;/login", "/;", "/login/;x", "/login/;x/", "/a/;b=1;c/d", "/%3b/login", "/login/%3Bx", "/a%2F;b", `/;\a`,
	} {
		if got, err := httpx.NormalizePath(raw); err == nil {
			t.Errorf("NormalizePath(%q) = %q, want an error", raw, got.RawPath)
		}
	}
}

func TestNormalPathsAndHostsCostNoAllocation(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		if _, err := httpx.NormalizePath("/api/products/42"); err != nil {
			t.Fatal(err)
		}
		if _, err := httpx.NormalizeHost("shop.example.com:8080", "http"); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// FuzzNormalizePath: one form, which is what is routed and what is forwarded, and no dot segments in it even
// for a server that decodes once more, takes backslashes for slashes and cuts off parameters.
func FuzzNormalizePath(f *testing.F) {
	for _, seed := range []string{"", "/", "/a/b", "/|/..%2Fadmin/x", "/%2e%2e/x", "//a//..;x/", `/a\..\b`, "/%00", "/a%252e", "/ä ", "/a;b=c/%3B", "/.%2e%5c", "/;/a", "/a%2F;b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		n, err := httpx.NormalizePath(raw)
		compared := httpx.ComparablePath(raw)
		if again := httpx.ComparablePath(compared); again != compared || compared[0] != '/' || strings.Contains(compared, "//") {
			t.Fatalf("%q is compared as %q, and that as %q", raw, compared, again)
		}
		if err != nil {
			return
		}
		if compared != n.RawPath {
			t.Fatalf("%q: normalised to %q, compared as %q", raw, n.RawPath, compared)
		}
		again, err := httpx.NormalizePath(n.RawPath)
		if err != nil || again != n {
			t.Fatalf("%q: normalised twice gives %+v, %v; once %+v", raw, again, err, n)
		}
		forwarded := (&url.URL{Path: n.Path, RawPath: n.RawPath}).EscapedPath()
		if forwarded != n.RawPath {
			t.Fatalf("%q: %q is routed and %q is forwarded", raw, n.RawPath, forwarded)
		}
		parsed, err := url.ParseRequestURI("http://h" + forwarded)
		if err != nil || httpx.RawPath(parsed) != n.RawPath || parsed.Path != n.Path {
			t.Fatalf("%q: parsed again it is %+v, %v", raw, parsed, err)
		}
		for _, s := range strings.FieldsFunc(n.Path, func(r rune) bool { return r == '/' || r == '\\' }) {
			if s, _, _ = strings.Cut(s, ";"); s == "." || s == ".." || s == "" {
				t.Fatalf("%q: decoded it is %q, with a segment that is dots or empty without its parameters", raw, n.Path)
			}
		}
		if strings.Contains(n.RawPath, "//") || n.RawPath[0] != '/' || strings.ContainsRune(n.Path, 0) {
			t.Fatalf("%q: normalised to %q", raw, n.RawPath)
		}
	})
}

func BenchmarkNormalizePath(b *testing.B) {
	for _, path := range []string{"/api/products/42", "/caf%C3%A9/%7Ejoe/../x"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := httpx.NormalizePath(path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
