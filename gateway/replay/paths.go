package replay

import (
	"cmp"
	"slices"
)

// paths counts the most frequent of any number of paths by the algorithm of Misra and Gries
// (1982): a new path for which there is no room lowers all counts by one. A count is at most requests/maxPaths too low.
type paths struct {
	counts      map[pathKey]int64
	approximate bool
}

type pathKey struct {
	status       int
	method, path string
}

const (
	maxPaths   = 4096
	maxPathLen = 200
)

func (p *paths) add(k pathKey) {
	if len(k.path) > maxPathLen {
		k.path = k.path[:maxPathLen] + "…"
	}
	if p.counts == nil {
		p.counts = make(map[pathKey]int64)
	}
	if _, ok := p.counts[k]; !ok && len(p.counts) >= maxPaths {
		p.approximate = true
		for other, n := range p.counts {
			if n == 1 {
				delete(p.counts, other)
			} else {
				p.counts[other] = n - 1
			}
		}
		return
	}
	p.counts[k]++
}

func (p *paths) top(n int) []PathCount {
	var all []PathCount
	for k, count := range p.counts {
		all = append(all, PathCount{k.status, k.method, k.path, count})
	}
	slices.SortFunc(all, func(a, b PathCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Status, b.Status), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	return all[:min(n, len(all))]
}
