package cache

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/problem"
)

// SetDefaults fills in what is zero and has a default.
func (r *Rule) SetDefaults() {
	if r.MaxBody == 0 {
		r.MaxBody = 1 << 20
	}
	if r.QueryMax == 0 {
		r.QueryMax = 64 << 10
	}
	if r.LockTimeout == 0 {
		r.LockTimeout = 5 * time.Second
	}
}

// Validate says everything that is wrong with a rule whose defaults are set.
func (r *Rule) Validate() []problem.Problem {
	var ps problem.List
	for _, d := range []struct {
		path  string
		value time.Duration
	}{{"ttl", r.TTL}, {"force_ttl", r.ForceTTL}, {"stale_while_revalidate", r.StaleWhileRevalidate}, {"stale_if_error", r.StaleIfError}} {
		if d.value < 0 {
			ps.Add(d.path, "write 0s or more", "%v is a negative duration", d.value)
		}
	}
	if r.LockTimeout < 0 {
		ps.Add("lock_timeout", "write a time like 5s", "%v is no time to wait", r.LockTimeout)
	}
	if r.TTL > 0 && r.ForceTTL > 0 {
		ps.Warn("ttl", "remove one of them", "ttl is never used, as force_ttl wins")
	}
	if r.Query != nil && r.IgnoreQuery != nil {
		ps.Add("ignore_query", "keep one: query lists what matters, ignore_query what doesn't", "both query and ignore_query are given")
	}
	for i, tag := range r.Tags {
		if wrong, ok := ValidateTag(tag); !ok {
			wrong.Path = problem.Item("tags", i)
			ps = append(ps, wrong)
		}
	}
	for _, list := range []struct {
		path     string
		patterns []string
	}{{"ignore_query", r.IgnoreQuery}, {"query", r.Query}, {"ignore_cookies", r.IgnoreCookies}} {
		for i, pattern := range list.patterns {
			validatePattern(&ps, problem.Item(list.path, i), pattern)
		}
	}
	for i, name := range r.KeyHeaders {
		if !httpx.IsToken(name) {
			ps.Add(problem.Item("key_headers", i), "header names are letters, digits and -", "%s is not a header's name", problem.Quote(name))
		}
	}
	problem.Positive(&ps, "max_body", r.MaxBody)
	problem.Positive(&ps, "query_max", r.QueryMax)
	for _, status := range slices.Sorted(maps.Keys(r.Errors)) {
		path := problem.Key("errors", strconv.Itoa(status))
		if problem.Between(&ps, path, status, 400, 599) {
			problem.Positive(&ps, path, r.Errors[status])
		}
	}
	return ps
}

// ValidateTag says what is wrong with a tag that could not stand in a Cache-Tag or Surrogate-Key field.
func ValidateTag(tag string) (problem.Problem, bool) {
	if tag == "" || len(tag) > 256 || strings.ContainsFunc(tag, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ',' }) {
		return problem.New("", "use up to 256 printable characters of ASCII, without space or comma", "%s is not a tag", problem.Quote(tag)), false
	}
	return problem.Problem{}, true
}

// validatePattern finds what is not a name, or a beginning with * after it.
func validatePattern(ps *problem.List, path, pattern string) {
	if pattern == "" || len(pattern) > 256 || strings.Contains(strings.TrimSuffix(pattern, "*"), "*") {
		ps.Add(path, "write a name, or the beginning of names like utm_*", "%s is not a pattern of names", problem.Quote(pattern))
	}
}
