package httpx

import "strings"

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
