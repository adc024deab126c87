package cache

import (
	"fmt"
	"strings"
)

// globs is a list of names in which * stands for any run of characters.
type globs []string

func newGlobs(what string, patterns []string) (globs, error) {
	for _, p := range patterns {
		if p == "" || len(p) > 256 || strings.Count(p, "*") > 8 {
			return nil, fmt.Errorf("cache: %s: the pattern %q must have 1 to 256 characters and at most 8 stars", what, p)
		}
	}
	return globs(patterns), nil
}

func (g globs) match(name string) bool {
	for _, p := range g {
		if matchGlob(p, name) {
			return true
		}
	}
	return false
}

// matcher is match as a function; nil if there are no patterns.
func (g globs) matcher() func(name string) bool {
	if len(g) == 0 {
		return nil
	}
	return g.match
}

// matchGlob matches greedily with one point to go back to, so that its time is
// at most the product of the lengths whatever a client sends as the name.
func matchGlob(pattern, name string) bool {
	p, n, star, mark := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && pattern[p] == name[n]:
			p, n = p+1, n+1
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
