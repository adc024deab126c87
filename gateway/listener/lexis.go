package listener

import (
	"math"
	"strings"
)

// resembles reports whether name is this one for somebody who is careless
// about case, and about which separators stand between the words, as CGI-like
// interfaces are, or about spaces around it. want is in lower case.
func resembles(name, want string) bool {
	for len(name) > len(want) && !isAlnum(name[0]) {
		name = name[1:]
	}
	for len(name) > len(want) && !isAlnum(name[len(name)-1]) {
		name = name[:len(name)-1]
	}
	if len(name) != len(want) {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if isAlnum(c) {
			c |= 0x20 // digits have that bit set already
		} else {
			c = '-'
		}
		if c != want[i] {
			return false
		}
	}
	return true
}

// trim removes optional whitespace, RFC 9110 section 5.6.3, from both ends.
func trim(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// parseLength reads a Content-Length: digits alone, RFC 9110 section 8.6.
func parseLength(s string) (framing, bool) {
	var n int64
	for i := range len(s) {
		c := s[i]
		if !isDigit(c) || n > (math.MaxInt64-9)/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return framing(n), len(s) > 0
}

func unhex(c byte) (byte, bool) {
	switch {
	case isDigit(c):
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// isToken reports whether s is a token, RFC 9110 section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 || !tokenChars[s[i]] {
			return false
		}
	}
	return len(s) > 0
}

// tokenChars are those that a token is made of.
var tokenChars = func() (chars [0x80]bool) {
	for c := range byte(0x80) {
		chars[c] = isAlnum(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
	}
	return chars
}()

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isAlnum(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' }
