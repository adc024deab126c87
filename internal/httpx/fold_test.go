package httpx_test

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/headgate/headgate/internal/httpx"
)

func TestPathsThatDifferInCaseAloneFoldAlike(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, a, b string
		alike      bool
	}{
		{"letters", "/Login/X", "/login/x", true},
		{"other letters", "/login", "/logim", false},
		{"letters beyond ASCII", "/caf%C3%89", "/CAF%C3%A9", true},
		{"other letters beyond ASCII", "/caf%C3%A8", "/caf%C3%A9", false},
		{"letters with and without an accent", "/cafe", "/caf%C3%A9", false},
		{"both sigmas", "/%CF%82", "/%CF%83", true},
		{"a letter outside the first plane", "/%F0%90%90%80", "/%F0%90%90%A8", true},
		{"the Kelvin sign is a k", "/%E2%84%AA", "/k", true},
		{"the long s is an s", "/%C5%BFhop", "/shop", true},
		{"the dotless i is an i", "/log%C4%B1n", "/login", true},
		{"escapes of other octets", "/a%2Fb", "/A%2Fb", true},
		{"an escape and what it stands for", "/a%3Ab", "/a:b", false},
		{"octets that are no UTF-8", "/%FF%C3/%C3%A9", "/%FF%C3/%C3%89", true},
		{"other octets that are no UTF-8", "/%FE", "/%FF", false},
		{"a letter that is cut short", "/%F0%90%90", "/%F0%90", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if a, b := httpx.FoldPath(tt.a), httpx.FoldPath(tt.b); (a == b) != tt.alike {
				t.Errorf("%q folds to %q, and %q to %q", tt.a, a, tt.b, b)
			}
		})
	}
}

// FuzzFoldPath: a path folds as it does in capitals and in small letters, and folding twice changes nothing.
func FuzzFoldPath(f *testing.F) {
	for _, seed := range []string{"/Login", "/caf\u00e9", "/\u017fhop", "/\u212a", "/%ff", "/%F0%90%90", "/a%2fB%3b", "/\ufffd"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		n, err := httpx.NormalizePath(raw)
		if err != nil {
			return
		}
		folded := httpx.FoldPath(n.RawPath)
		if again := httpx.FoldPath(folded); again != folded {
			t.Fatalf("%q folds to %q, and that to %q", n.RawPath, folded, again)
		}
		if strings.Count(folded, "/") != strings.Count(n.RawPath, "/") {
			t.Fatalf("%q folds to %q, of other segments", n.RawPath, folded)
		}
		if !utf8.ValidString(n.Path) {
			return
		}
		for _, spelt := range []string{strings.ToUpper(n.Path), strings.ToLower(n.Path)} {
			if other, err := httpx.NormalizePath((&url.URL{Path: spelt}).EscapedPath()); err == nil && !httpx.HasEncodedSlash(n.RawPath) {
				if got, err := url.PathUnescape(httpx.FoldPath(other.RawPath)); err != nil || got != decoded(t, folded) {
					t.Fatalf("%q folds to %q, but %q to %q", n.RawPath, folded, other.RawPath, got)
				}
			}
		}
	})
}

func decoded(t *testing.T, path string) string {
	t.Helper()
	s, err := url.PathUnescape(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
