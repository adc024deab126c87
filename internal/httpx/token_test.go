package httpx_test

import (
	"slices"
	"testing"

	"github.com/headgate/headgate/internal/httpx"
	"golang.org/x/net/http/httpguts"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		want := c < 0x80 && httpguts.IsTokenRune(rune(c))
		if got := httpx.IsToken(string([]byte{byte(c)})); got != want {
			t.Errorf("octet %#x: %v, want %v", c, got, want)
		}
	}
	for s, want := range map[string]bool{"": false, "GET": true, "X-A_b.c~": true, "a b": false, "é": false, "a\x00": false, "a:": false} {
		if httpx.IsToken(s) != want || httpx.IsToken([]byte(s)) != want {
			t.Errorf("%q: want %v", s, want)
		}
	}
}

func TestHexDigits(t *testing.T) {
	t.Parallel()
	const digits = "0123456789abcdef0123456789ABCDEF"
	valid := map[byte]byte{}
	for i := range len(digits) {
		valid[digits[i]] = byte(i & 15)
	}
	for c := range 256 {
		value, ok := httpx.Unhex(byte(c))
		if want, is := valid[byte(c)]; ok != is || value != want {
			t.Errorf("octet %#x: %d, %v", c, value, ok)
		}
	}
}

func TestListsOfTokensAndOfMembers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		lines           []string
		tokens, members []string
	}{
		{nil, nil, nil},
		{[]string{""}, nil, nil},
		{[]string{",, ,"}, nil, nil},
		{[]string{"a,b", " c\t, d"}, []string{"a", "b", "c", "d"}, []string{"a", "b", "c", "d"}},
		{[]string{`x="a,b", c`}, []string{`x="a`, `b"`, "c"}, []string{`x="a,b"`, "c"}},
		{[]string{`x="a\",b", c`}, []string{`x="a\"`, `b"`, "c"}, []string{`x="a\",b"`, "c"}},
		{[]string{`x="a, b`, "c"}, []string{`x="a`, "b", "c"}, []string{`x="a, b`, "c"}}, // no end: its own line alone
	} {
		if got := slices.Collect(httpx.Tokens(tt.lines)); !slices.Equal(got, tt.tokens) {
			t.Errorf("tokens of %q: %q, want %q", tt.lines, got, tt.tokens)
		}
		if got := slices.Collect(httpx.Members(tt.lines)); !slices.Equal(got, tt.members) {
			t.Errorf("members of %q: %q, want %q", tt.lines, got, tt.members)
		}
	}
	if !httpx.HasToken([]string{"a", "x, Close"}, "close") || httpx.HasToken([]string{"closed", "x=close"}, "close") {
		t.Error("HasToken")
	}
}

func TestListsCostNoAllocation(t *testing.T) {
	lines := []string{"keep-alive, x-a", "close"}
	if n := testing.AllocsPerRun(100, func() {
		for member := range httpx.Members(lines) {
			if member == "" {
				t.Fatal("an empty member")
			}
		}
		if !httpx.HasToken(lines, "Close") {
			t.Fatal("no close")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
