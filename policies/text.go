package policies

import "github.com/headgate/headgate/middleware/problem"

// quote quotes what came from the file, in one line and shortened.
func quote(s string) string { return problem.Quote(s) }

// variableName reports whether s is a name that :NAME in a path may have.
func variableName(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
