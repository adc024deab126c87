package httpx

import (
	"iter"
	"strings"
)

// tokenOctet marks the characters of a token.
var tokenOctet = func() (set [256]bool) {
	for c := range 0x80 {
		set[c] = IsAlnum(byte(c)) || strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0
	}
	return set
}()

// IsToken reports whether s is a token, RFC 9110 section 5.6.2: a method, or the name of a field, a
// cookie or a parameter. The empty string is none, nor is anything with a byte beyond ASCII.
func IsToken[S ~string | ~[]byte](s S) bool {
	for i := range len(s) {
		if !tokenOctet[s[i]] {
			return false
		}
	}
	return len(s) > 0
}

// IsDigit reports whether c is 0 to 9.
func IsDigit(c byte) bool { return '0' <= c && c <= '9' }

// IsAlnum reports whether c is an ASCII letter or a digit.
func IsAlnum(c byte) bool { return IsDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' }

// EqualFold reports whether two tokens are the same in any case. Unlike strings.EqualFold it folds ASCII alone, provided
// that one of them is ASCII: "chun\u212Aed", with a Kelvin sign, is not chunked.
func EqualFold(s, t string) bool { return len(s) == len(t) && strings.EqualFold(s, t) }

// Unhex returns the value of a hex digit in either case.
func Unhex(c byte) (value byte, ok bool) {
	switch {
	case IsDigit(c):
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// TrimOWS removes optional white space (spaces and tabs, RFC 9110 section 5.6.3) from both ends.
func TrimOWS(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// Tokens yields the members of a list of tokens (RFC 9110 section 5.6.1) over all lines of a field, such as
// Connection, Trailer, Upgrade and Vary. Every comma separates: such a list has no quoted strings, and a stray quote
// must not hide a member. Empty members are left out. The members are not checked.
func Tokens(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) { split(lines, cutComma, yield) }
}

// split cuts lines at commas, and yields what is between them.
func split(lines []string, cut func(line string) (member, rest string, more bool), yield func(string) bool) {
	for _, line := range lines {
		for more := true; more; {
			var member string
			member, line, more = cut(line)
			if member = TrimOWS(member); member != "" && !yield(member) {
				return
			}
		}
	}
}

func cutComma(line string) (member, rest string, more bool) { return strings.Cut(line, ",") }

func cutUnquotedComma(line string) (member, rest string, more bool) { return cutUnquoted(line, ',') }

// HasToken reports whether a list of tokens has this one, in any case.
func HasToken(lines []string, token string) bool {
	for member := range Tokens(lines) {
		if EqualFold(member, token) {
			return true
		}
	}
	return false
}

// Members yields the members of a list that may hold quoted strings, such as Accept: commas within them do not
// separate. Empty members are left out. A quoted string that does not end takes all that is left of its line.
func Members(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) { split(lines, cutUnquotedComma, yield) }
}

// cutUnquoted cuts s around the first separator that stands outside quoted strings (RFC 9110 section 5.6.4).
func cutUnquoted(s string, separator byte) (before, after string, found bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '\\' && quoted:
			i++
		case s[i] == separator && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}
