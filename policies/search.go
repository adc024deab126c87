package policies

import (
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// search is one walk through the trees. It tries candidates in the order of their precedence.
type search struct {
	request  *Request
	folds    bool // as the matcher's
	best     candidate
	methodOK bool       // whether a route of a fitting path had a fitting method
	allowed  []string   // the methods of routes that fit but for the method
	tried    *[]Attempt // where Explain wants to know

	counts  func(candidate) bool // of MayTake; else nil
	counted bool                 // it was true of a route that may take the request
}

func (m *Matcher) search(s *search) Match {
	path := trimSlashes(s.request.Path)
	found := len(m.exact) > 0 && m.exact[s.request.Host].walk(path, s)
	if !found && len(m.wildcards) > 0 {
		for rest := s.request.Host; !found; {
			var ok bool
			if _, rest, ok = strings.Cut(rest, "."); !ok {
				break
			}
			found = m.wildcards[rest].walk(path, s)
		}
	}
	found = found || m.any.walk(path, s)
	switch {
	case found:
		i := s.best.rule.index
		return Match{Outcome: Found, Index: i, Route: m.routes[i], pattern: s.best.pattern, path: s.request.Path}
	case len(s.allowed) > 0 && !s.methodOK:
		slices.Sort(s.allowed)
		return Match{Outcome: MethodNotAllowed, Index: -1, Allow: slices.Compact(s.allowed)}
	}
	return Match{Outcome: NotFound, Index: -1}
}

// walk tries what the rest of the path leads to from here: a static segment first, then a parameter, then a *.
func (n *node) walk(rest string, s *search) bool {
	if n == nil {
		return false
	}
	if rest == "" {
		return s.try(n.end, rest) || s.try(n.star, rest)
	}
	segment, after, _ := strings.Cut(rest, "/")
	return n.staticChild(segment, s.folds).walk(after, s) || n.param.walk(after, s) || s.try(n.star, rest)
}

// staticChild looks a segment up without its parameters.
func (n *node) staticChild(segment string, folds bool) *node {
	if len(n.static) == 0 {
		return nil
	}
	name := httpx.SegmentName(segment)
	if !folds {
		return n.static[name]
	}
	var folded [64]byte // longer ones are allocated
	return n.static[string(httpx.AppendFolded(folded[:0], name))]
}

// try tries candidates that the path has led to; the rest of it is below their *.
func (s *search) try(list []candidate, rest string) bool {
	for _, c := range list {
		if c.pattern.suffix != "" && !c.pattern.takesRest(rest) {
			continue
		}
		if s.folds && !c.pattern.ignoreCase && !c.pattern.matches(s.request.Path, nil) {
			continue // it differs in case, which counts for this route
		}
		if s.counts != nil {
			if s.tryCounts(c) {
				return true
			}
			continue
		}
		why := c.rule.refuses(s.request)
		if s.tried != nil {
			*s.tried = append(*s.tried, Attempt{Index: c.rule.index, Pattern: c.pattern.text, Why: c.rule.explain(why, s.request)})
		}
		switch why.matcher {
		case fits:
			s.best = c
			return true
		case pathDiffers:
		case methodDiffers:
			if c.rule.refusesOthers(s.request).matcher == fits {
				s.allowed = append(s.allowed, c.rule.allows()...)
			}
		default:
			s.methodOK = true
		}
	}
	return false
}

// trimSlashes removes the leading slash and a trailing one, which matching ignores.
func trimSlashes(path string) string {
	return strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
}
