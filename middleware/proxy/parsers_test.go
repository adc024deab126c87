package proxy

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The parsers of outside input, against plainer ones.

func FuzzTraceparent(f *testing.F) {
	for _, s := range []string{
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
		"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01",
		"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
		"", "00", strings.Repeat("-", 55),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h := http.Header{"Traceparent": {s}, "Tracestate": {"a=1"}}
		id := EnsureTraceparent(h)
		got := h["Traceparent"][0]
		if len(h["Traceparent"]) != 1 || !validTraceparent(got) || got[3:35] != id {
			t.Fatalf("%q became %q", s, got)
		}
		parts := strings.Split(s, "-")
		hex := func(s string, n int) bool { return len(s) == n && strings.Trim(s, "0123456789abcdef") == "" }
		valid := len(parts) >= 4 && hex(parts[0], 2) && hex(parts[1], 32) && hex(parts[2], 16) && hex(parts[3], 2) &&
			strings.Trim(parts[1], "0") != "" && strings.Trim(parts[2], "0") != "" &&
			parts[0] != "ff" && (parts[0] != "00" || len(parts) == 4)
		if valid != (got == s) || valid != (h["Tracestate"] != nil) {
			t.Fatalf("%q (valid: %t) became %q", s, valid, got)
		}
	})
}

func TestTracesThatBeginHereAreValidAndTheirOwn(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 1000 {
		h := http.Header{}
		id := EnsureTraceparent(h)
		if !validTraceparent(h.Get("Traceparent")) || seen[id] {
			t.Fatalf("%v", h)
		}
		seen[id] = true
	}
}

// overriding are the names, in one spelling, of all fields that IsForwarding knows, but for its prefixes.
var overriding = []string{
	"forwarded", "forwarded-for", "forwarded-host", "forwarded-proto", "x-forward-for", "x-forward-host", "x-forward-proto",
	"x-real-ip", "x-original-for", "x-host", "x-http-host-override", "x-original-host", "x-backend-host",
	"base-url", "x-proxy-url", "x-original-url", "x-original-uri", "x-rewrite-url", "x-script-name", "x-original-prefix",
	"x-url-scheme", "x-scheme", "x-original-scheme", "x-original-proto", "front-end-https", "https", "x-https",
	"x-method-override", "x-original-method", "x-sendfile-type", "x-accel-mapping", "proxy",
}

func TestFieldsThatOverrideTheRequestAreKnownInAnySpelling(t *testing.T) {
	t.Parallel()
	for _, name := range overriding {
		for _, spelling := range []string{name, strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"), strings.ReplaceAll(name, "-", "."), http.CanonicalHeaderKey(name)} {
			if !IsForwarding(spelling) {
				t.Errorf("%q is forwarded", spelling)
			}
		}
		if alike := name + "s"; IsForwarding(alike) && !slices.Contains(overriding, alike) {
			t.Errorf("%q only looks like one of them, and is not forwarded", alike)
		}
	}
}

func FuzzForwardingNames(f *testing.F) {
	for _, s := range []string{"X-Forwarded-For", "x_forwarded.proto", "FORWARDED", "X-Real-IP", "X-Http-Method-Override", "X-Forward", "é-forwarded", "x_host", "PROXY", "Proxy-Status", "x-http-host-override"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		var b strings.Builder
		for i := range len(name) {
			c := name[i]
			switch {
			case 'A' <= c && c <= 'Z':
				c += 'a' - 'A'
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			default:
				c = '-'
			}
			b.WriteByte(c)
		}
		folded := b.String()
		want := slices.Contains(overriding, folded) ||
			strings.HasPrefix(folded, "x-forwarded") || strings.HasPrefix(folded, "x-http-method")
		if IsForwarding(name) != want {
			t.Fatalf("%q: want %t", name, want)
		}
	})
}

// frame makes a WebSocket frame.
func frame(payload []byte, masked bool) []byte {
	mask := byte(0)
	if masked {
		mask = 0x80
	}
	head := []byte{0x82}
	switch n := len(payload); {
	case n < 126:
		head = append(head, mask|byte(n))
	case n < 1<<16:
		head = append(head, mask|126, byte(n>>8), byte(n))
	default:
		head = append(head, mask|127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	if masked {
		head = append(head, 1, 2, 3, 4)
	}
	return append(head, payload...)
}

func TestFrameBoundariesAreFoundHoweverTheBytesArrive(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		ends := map[int]bool{0: true}
		for range rapid.IntRange(1, 8).Draw(t, "frames") {
			size := rapid.SampledFrom([]int{0, 1, 125, 126, 127, 300, 65535, 65536, 70000}).Draw(t, "size")
			stream = append(stream, frame(bytes.Repeat([]byte{0x88}, size), rapid.Bool().Draw(t, "masked"))...)
			ends[len(stream)] = true
		}
		var s frameScanner
		for at := 0; at < len(stream); {
			if s.atBoundary() != ends[at] {
				t.Fatalf("at %d: boundary %t", at, s.atBoundary())
			}
			n := min(rapid.IntRange(1, 5000).Draw(t, "chunk"), len(stream)-at)
			if rapid.Bool().Draw(t, "all") {
				s.skip(stream[at : at+n])
				at += n
				continue
			}
			m := s.skipFrame(stream[at : at+n])
			for end := at + 1; end < at+m; end++ {
				if ends[end] {
					t.Fatalf("went past the boundary at %d to %d", end, at+m)
				}
			}
			if m < n && !ends[at+m] || m == 0 {
				t.Fatalf("stopped at %d of %d", at+m, at+n)
			}
			at += m
		}
		if !s.atBoundary() {
			t.Fatal("not at a boundary in the end")
		}
	})
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x82\x05hello\x88\x02\x03\xe9"), uint8(3))
	f.Add([]byte("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xffx"), uint8(1))
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		var whole, pieces frameScanner
		whole.skip(stream)
		for rest := stream; len(rest) > 0; {
			n := min(int(step)+1, len(rest))
			pieces.skip(rest[:n])
			rest = rest[n:]
		}
		if whole.seen != pieces.seen || whole.payload != pieces.payload {
			t.Fatalf("%+v, %+v", whole, pieces)
		}
	})
}
