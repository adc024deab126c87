package observe

import (
	"net/url"
	"strings"

	"github.com/headgate/headgate/internal/mask"
)

// QueryMask hides the values of query parameters in what is logged. A nil QueryMask hides none. It is safe for concurrent use.
type QueryMask struct {
	names map[string]struct{} // in lower case
}

// NewQueryMask returns a mask for parameters of these names, whatever their case, and however they are escaped.
func NewQueryMask(names []string) *QueryMask {
	if len(names) == 0 {
		return nil
	}
	m := &QueryMask{names: make(map[string]struct{}, len(names))}
	for _, name := range names {
		m.names[strings.ToLower(name)] = struct{}{}
	}
	return m
}

// Apply returns text with *** in the place of what it hides. Text is a request's target, a URL, or a sentence with URLs in it:
// what follows a question mark is a query, up to a blank or a quotation mark. Parameters are parted by & or by ;, as some apps take it.
func (m *QueryMask) Apply(text string) string {
	start := strings.IndexByte(text, '?')
	if m == nil || start < 0 {
		return text
	}
	var b strings.Builder // what is done of text, once something was hidden
	done := 0
	for i := start + 1; i <= len(text); i++ {
		end := i + endOf(text[i:], "&;?# \t\"'<>")
		name, value, found := strings.Cut(text[i:end], "=")
		if found && value != "" && m.hides(name) {
			b.WriteString(text[done : i+len(name)+1])
			b.WriteString(mask.Secret)
			done = end
		}
		i = end
	}
	if done == 0 {
		return text
	}
	b.WriteString(text[done:])
	return b.String()
}

// Masked returns the record as the access log shows it: itself, where there is nothing to hide.
func (e *Record) Masked(m *QueryMask) *Record {
	if m == nil {
		return e
	}
	shown := *e
	shown.URI, shown.Referer, shown.Error = m.Apply(e.URI), m.Apply(e.Referer), m.Apply(e.Error)
	return &shown
}

func endOf(s, any string) int {
	if i := strings.IndexAny(s, any); i >= 0 {
		return i
	}
	return len(s)
}

// hides reports whether a parameter of this name, as it was sent, is hidden. One that can't be decoded is taken as it is.
func (m *QueryMask) hides(name string) bool {
	if plain, err := url.QueryUnescape(name); err == nil {
		name = plain
	}
	_, is := m.names[strings.ToLower(name)]
	return is
}
