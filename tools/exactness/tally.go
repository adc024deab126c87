package main

import (
	"slices"
	"time"
)

// tally is what was admitted, by when it was sent and answered.
type tally []answer

func (t tally) admitted() (n int) {
	for _, a := range t {
		if a.admitted {
			n++
		}
	}
	return n
}

// densest returns how many requests were admitted at least in some span of this length: those that
// were sent and answered within it. Each of them may have been decided at any time between.
func (t tally) densest(span time.Duration) (most int) {
	admitted := slices.DeleteFunc(slices.Clone(t), func(a answer) bool { return !a.admitted })
	slices.SortFunc(admitted, func(a, b answer) int { return a.sent.Compare(b.sent) })
	for i, first := range admitted {
		n, ends := 0, first.sent.Add(span)
		for _, a := range admitted[i:] {
			if a.sent.After(ends) {
				break
			}
			if !a.answered.After(ends) {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}
