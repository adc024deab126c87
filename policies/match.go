package policies

import (
	"net/netip"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// Request is what a Matcher looks at.
type Request struct {
	Host     string              // NormalHost.Name
	Path     string              // NormalPath.RawPath
	Scheme   string              // http or https
	Method   string              // as sent
	Header   map[string][]string // an http.Header
	RawQuery string              // without the ?
	ClientIP netip.Addr          // unmapped
	Plan     string              // of the API key that the request carries, where the Matcher is ByPlan
}

// Outcome is what matching came to.
type Outcome int

// The outcomes.
const (
	NotFound         Outcome = iota // 404
	MethodNotAllowed                // 405: a path fits, no method does
	Found
)

// Match is the result of matching a request.
type Match struct {
	Outcome Outcome
	Index   int      // of the route, or -1
	Route   *Route   // or nil
	Allow   []string // with MethodNotAllowed: the methods that would do, sorted

	pattern *pattern
	path    string
}

// Param returns what a :name of the route's path matched, or * with its suffix ("" where there is none), escaped as it was
// sent. A * has the slash at the end that matching ignores: /dir and /dir/ are two things to many an app.
func (m Match) Param(name string) (value string) {
	if m.pattern == nil {
		return ""
	}
	m.pattern.matches(m.path, func(n, v string) {
		if n == name {
			value = v
		}
	})
	if name == "*" && value != "" && strings.HasSuffix(m.path, "/") {
		value += "/"
	}
	return value
}

// StripPrefix returns the path without the segments of prefix, which the route's path begins with, and whether it
// begins with them. The parameters of those segments go with them.
func (m Match) StripPrefix(prefix string) (rest string, ok bool) {
	rest = m.path
	for want := range strings.SplitSeq(trimSlashes(prefix), "/") {
		segment := strings.TrimPrefix(rest, "/")
		end := strings.IndexByte(segment, '/')
		if end < 0 {
			end = len(segment)
		}
		name := httpx.SegmentName(segment[:end])
		if m.pattern != nil && m.pattern.ignoreCase {
			name, want = httpx.FoldPath(name), httpx.FoldPath(want)
		}
		if name != want {
			return m.path, false
		}
		rest = segment[end:]
	}
	if rest == "" {
		rest = "/"
	}
	return rest, true
}

// Pattern returns that one of the route's paths that matched.
func (m Match) Pattern() string {
	if m.pattern == nil {
		return ""
	}
	return m.pattern.text
}

// Expand fills the :names and the last * of a rewrite or a redirect with what they matched.
// The result is escaped as the request's path was.
func (m Match) Expand(template string) string {
	var b strings.Builder
	eachReference(template, func(text string) { b.WriteString(text) }, func(name string) { b.WriteString(m.Param(name)) })
	return b.String()
}
