package compress_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/headgate/headgate/middleware/compress"
)

// oracle answers an Accept-Encoding by the text of RFC 9110 section 12.5.3, knowing nothing of the package: the coding among br,
// zstd, gzip and identity that may be sent and is liked best, and of several the one that the server likes best.
func oracle(field string) string {
	weights := map[string]int{}
	for _, member := range strings.Split(field, ",") {
		name, parameter, found := strings.Cut(strings.TrimSpace(member), ";")
		if name = strings.ToLower(strings.TrimSpace(name)); name == "" {
			continue // section 5.6.1.2: a recipient must accept empty list members
		}
		if name == "x-gzip" {
			name = "gzip" // section 8.4.1.3
		}
		weight := 1000 // section 12.4.2: the default is 1
		if found {
			number, err := strconv.ParseFloat(strings.TrimSpace(parameter)[2:], 64)
			if err != nil {
				panic(parameter)
			}
			weight = int(number*1000 + 0.5)
		}
		weights[name] = weight
	}
	weightOf := func(coding string) (weight int, acceptable bool) {
		if w, named := weights[coding]; named { // "if the content coding is listed": acceptable unless its weight is 0
			return w, w > 0
		}
		if w, named := weights["*"]; named { // "* matches any available content coding not explicitly listed"
			return w, w > 0
		}
		return 0, coding == "identity" // acceptable unless it is excluded, and liked less than what is listed
	}
	best, most := "identity", -1 // where none is acceptable, a response without a coding
	for _, coding := range []string{"br", "zstd", "gzip", "identity"} {
		if w, ok := weightOf(coding); ok && w > most {
			best, most = coding, w
		}
	}
	return best
}

// 200 generated fields are answered as the RFC says.
func TestTwoHundredAcceptEncodings(t *testing.T) {
	t.Parallel()
	h := newHarness(t, compress.Options{})
	h.serves(text, "Content-Type: text/plain")
	random := rand.New(rand.NewPCG(9110, 1253))
	names := []string{"br", "gzip", "zstd", "identity", "*", "deflate", "x-gzip", "odd", "GZIP", "Br"}
	seen := map[string]int{}
	for range 200 {
		var members []string
		used := map[string]bool{}
		for range random.IntN(7) {
			name := names[random.IntN(len(names))]
			key := strings.TrimPrefix(strings.ToLower(name), "x-")
			if used[key] {
				continue // what two weights for one coding mean is not said
			}
			used[key] = true
			weight := []string{"", ";q=1", ";q=0", "; q=0.5", ";Q=0.001", ";q=0.000", " ; q=1.0", fmt.Sprintf(";q=0.%03d", random.IntN(1000))}[random.IntN(8)]
			members = append(members, name+weight)
		}
		field := strings.Join(members, []string{",", ", ", " ,, "}[random.IntN(3)])
		want, a := oracle(field), h.get("Accept-Encoding: "+field)
		got := a.Header.Get("Content-Encoding")
		if got == "" {
			got = "identity"
		}
		seen[got]++
		if got != want || a.text() != text || a.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: %s, want %s; Vary %q", field, got, want, a.Header.Get("Vary"))
		}
	}
	for _, coding := range []string{"br", "zstd", "gzip", "identity"} {
		if seen[coding] < 10 {
			t.Errorf("%s was sent %d times: the fields are no test of it", coding, seen[coding])
		}
	}
}

func TestNegotiation(t *testing.T) {
	t.Parallel()
	h := newHarness(t, compress.Options{})
	h.serves(text, "Content-Type: text/plain")
	for field, want := range map[string]string{
		"gzip, deflate, br, zstd": "br", "gzip": "gzip", "gzip;q=0": "", "gzip;q=0, *": "br", "*": "br", "*;q=0": "",
		"identity": "", "identity, gzip": "gzip", "identity;q=1, gzip;q=0.9": "", "identity;q=0": "", "identity;q=0, zstd": "zstd",
		"br;q=0.5, gzip;q=0.6": "gzip", "br;q=high, gzip": "gzip", "compress, deflate": "", "gzip;q=0.5, gzip;q=0": "", "": "",
	} {
		if got := h.get("Accept-Encoding: " + field).Header.Get("Content-Encoding"); got != want {
			t.Errorf("%q: %q, want %q", field, got, want)
		}
	}
	if a := h.get(); a.Header.Get("Content-Encoding") != "" || a.Header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("no field: %v", a.Header)
	}
	h.serves("short", "Content-Type: text/plain")
	if a := h.get("Accept-Encoding: gzip"); a.Header.Get("Content-Encoding") != "" || a.text() != "short" || a.ContentLength != 5 {
		t.Errorf("a short answer: %v", a.Header)
	}
	if a := h.get("Accept-Encoding: gzip, identity;q=0"); a.Header.Get("Content-Encoding") != "gzip" || a.text() != "short" {
		t.Errorf("a short answer where identity is refused: %v", a.Header)
	}
}
