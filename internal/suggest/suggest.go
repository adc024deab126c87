// Package suggest finds the known word that is nearest to a misspelt one.
package suggest

import (
	"slices"
	"strings"

	"github.com/headgate/headgate/middleware/problem"
)

// DidYouMean is the mend for a word that nothing knows: the nearest known one, or all of them.
// kind says what they are: "keys here", "limits".
func DidYouMean(word, kind string, known []string) string {
	if near, ok := Nearest(word, known); ok {
		return "did you mean " + problem.Quote(near) + "?"
	}
	if len(known) == 0 {
		return "there are no " + kind
	}
	sorted := slices.Sorted(slices.Values(known))
	const most = 40
	if len(sorted) > most {
		return "the " + kind + " are " + strings.Join(sorted[:most], ", ") + ", ..."
	}
	return "the " + kind + " are " + strings.Join(sorted, ", ")
}

// Nearest finds the known word that is the fewest edits away, if that is few for its length.
func Nearest(word string, known []string) (string, bool) {
	const longest = 64
	if len(word) > longest {
		return "", false
	}
	word = strings.ToLower(word)
	best, bestDistance := "", max(1, len(word)/3)+1
	for _, k := range slices.Sorted(slices.Values(known)) {
		if len(k) > longest {
			continue
		}
		if d := distance(word, strings.ToLower(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best == "" { // a part of a name is no typing mistake, but a near miss all the same: rate -> rate_limit_headers
		for _, k := range slices.Sorted(slices.Values(known)) {
			if len(word) >= 4 && strings.Contains(strings.ToLower(k), word) {
				return k, true
			}
		}
	}
	return best, best != ""
}

// distance is the number of insertions, deletions, substitutions and swaps of
// neighbours between two words (optimal string alignment).
func distance(a, b string) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
