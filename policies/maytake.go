package policies

// MayTake reports whether a route that counts may take a request with this host and path and one of the methods, whatever
// else the request says: its scheme, headers, cookies, query, client and plan.
func (m *Matcher) MayTake(host, path string, methods []string, counts func(*Route) bool) bool {
	for _, method := range methods {
		s := search{request: &Request{Host: host, Path: path, Method: method}, folds: m.folds}
		s.counts = func(c candidate) bool { return counts(m.routes[c.rule.index]) }
		if m.search(&s); s.counted {
			return true
		}
	}
	return false
}

// tryCounts is try for MayTake. A route that asks for nothing but host, path and method takes every request that
// has come to it, so that no route behind it matters.
func (s *search) tryCounts(c candidate) (decided bool) {
	if why := c.rule.refuses(s.request).matcher; why == pathDiffers || why == methodDiffers {
		return false
	}
	s.counted = s.counts(c)
	if s.counted || c.rule.matchers() == 0 {
		s.best = c
		return true
	}
	return false
}
