package httpx_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/httpx"
)

func TestCodingNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]httpx.Coding{"br": httpx.Brotli, "GZIP": httpx.Gzip, "X-gzip": httpx.Gzip, "x-compress": httpx.Compress, "identity": httpx.Identity} {
		if c, known := httpx.CodingOf(name); !known || c != want {
			t.Errorf("%s: %v, %v", name, c, known)
		}
	}
	for _, name := range []string{"", "x-br", "x-x-gzip", "*", "gz", "brotli"} {
		if c, known := httpx.CodingOf(name); known {
			t.Errorf("%q is %v", name, c)
		}
	}
}

func TestAcceptEncoding(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		lines  []string
		normal string
		well   bool
	}{
		{nil, "", true},
		{[]string{""}, "", true},
		{[]string{"identity"}, "", true},
		{[]string{"gzip, deflate, br, zstd"}, "br,deflate,gzip,zstd", true},
		{[]string{"zstd", " BR ;q=1.000,gzip;q=1"}, "br,gzip,zstd", true},
		{[]string{"gzip;q=0.2, br;q=0.1"}, "gzip,br;q=0.9", true},
		{[]string{"gzip, x-gzip, x-odd"}, "gzip", true},
		{[]string{"gzip;q=0"}, "", true},
		{[]string{"gzip, identity;q=0"}, "gzip,identity;q=0", true},
		{[]string{"gzip, *;q=0"}, "gzip,identity;q=0", true},
		{[]string{"identity, *;q=0"}, "", true},
		{[]string{"identity;q=0.5, gzip;q=0.1"}, "identity,gzip;q=0.9", true},
		{[]string{"*"}, "identity,br,compress,dcb,dcz,deflate,gzip,zstd", true},
		{[]string{"gzip;q=0.5, *;q=0.1, br;q=0"}, "gzip,identity;q=0.9,compress;q=0.9,dcb;q=0.9,dcz;q=0.9,deflate;q=0.9,zstd;q=0.9", true},
		{[]string{"gzip;q=2, br"}, "br", false},
		{[]string{"gzip;level=1"}, "gzip", false},
		{[]string{"gzip;q=0.5, gzip;q=0"}, "", false},
		{[]string{"gz ip"}, "", false},
	} {
		a := httpx.ParseAcceptEncoding(tc.lines)
		if normal := string(a.AppendNormal(nil)); normal != tc.normal || a.WellFormed != tc.well {
			t.Errorf("%q: %q, well-formed %v; want %q, %v", tc.lines, normal, a.WellFormed, tc.normal, tc.well)
		}
	}
}

// The normal form means what the field means: the same codings are acceptable, in the same order.
func TestAcceptEncodingNormalForm(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	names := []string{"*", "br", "gzip", "x-gzip", "zstd", "deflate", "identity", "dcz", "odd"}
	for range 5000 {
		var members []string
		for range random.IntN(6) {
			members = append(members, fmt.Sprintf("%s;q=%s", names[random.IntN(len(names))], []string{"1", "0", "0.5", "0.001", "0.999"}[random.IntN(5)]))
		}
		field := strings.Join(members, " , ")
		a := httpx.ParseAcceptEncoding([]string{field})
		normal := string(a.AppendNormal(nil))
		again := httpx.ParseAcceptEncoding([]string{normal})
		if !again.WellFormed || string(again.AppendNormal(nil)) != normal {
			t.Fatalf("%q: the normal form %q is none", field, normal)
		}
		for c := range httpx.Coding(httpx.Codings) {
			for d := range httpx.Coding(httpx.Codings) {
				if before, after := order(&a, c, d), order(&again, c, d); before != after {
					t.Fatalf("%q and %q: %v to %v is %d and %d", field, normal, c, d, before, after)
				}
			}
		}
	}
}

// order tells which of two codings a field prefers: identity least, where it is not named. A coding that is not
// acceptable ranks lowest of all.
func order(a *httpx.AcceptEncoding, c, d httpx.Coding) int {
	rank := func(c httpx.Coding) float64 {
		q, explicit := a.Quality(c)
		lowest := c == httpx.Identity && q > 0
		for other := httpx.Identity + 1; lowest && int(other) < httpx.Codings; other++ {
			if weight, _ := a.Quality(other); weight > 0 && weight <= q && explicit {
				lowest = false
			}
		}
		if lowest {
			return 0.5
		}
		return float64(q)
	}
	switch x, y := rank(c), rank(d); {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}
