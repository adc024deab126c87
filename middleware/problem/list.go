package problem

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// List collects the problems of one value.
type List []Problem

// Add adds an error.
func (l *List) Add(path, mend, format string, args ...any) {
	*l = append(*l, New(path, mend, format, args...))
}

// Warn adds a warning.
func (l *List) Warn(path, mend, format string, args ...any) {
	*l = append(*l, Warn(path, mend, format, args...))
}

// Between adds an error where n is out of its bounds, and reports whether it is within them.
func Between[N cmp.Ordered](l *List, path string, n, low, high N) bool {
	if n >= low && n <= high {
		return true
	}
	l.Add(path, fmt.Sprintf("choose one from %v to %v", low, high), "%v is out of bounds", n)
	return false
}

// Positive adds an error where a duration or a size is zero or negative.
func Positive[N ~int64](l *List, path string, n N) {
	if n <= 0 {
		l.Add(path, "write one above zero", This+" can't be zero")
	}
}

// LocalPath adds an error where a value is not a path on this site, and reports whether it is
// one. //host and /\host are another's.
func LocalPath(l *List, path, value string) bool {
	if strings.HasPrefix(value, "/") && !strings.HasPrefix(value, "//") && !strings.ContainsAny(value, "\\\r\n\t ") {
		return true
	}
	l.Add(path, "write it like /login", "%s is not a path on this site", Quote(value))
	return false
}

// MendName says what a name may be: see [IsName].
const MendName = "use letters, digits, and - _ . between them, 64 at most"

// IsName reports whether s may name something: it goes into metrics, keys of Redis, headers and logs as it is.
func IsName(s string) bool {
	for i, c := range []byte(s) {
		alphanumeric := c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
		if !alphanumeric && (i == 0 || c != '-' && c != '_' && c != '.') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// Word adds an error where a value is none of the words that its type knows, and reports whether it is one.
func Word[W interface {
	~string
	Values() []string
}](l *List, path string, word W) bool {
	known := word.Values()
	if slices.Contains(known, string(word)) {
		return true
	}
	last := len(known) - 1
	l.Add(path, "use "+strings.Join(known[:last], ", ")+" or "+known[last], "unknown %s %s", path, Quote(string(word)))
	return false
}
