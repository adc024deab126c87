package httpx

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// FoldPath returns a normal path, or a segment of one, in the form that is the same for all that differ from it in
// case alone. Letters beyond ASCII are escaped in a path, and count as well. It is for comparing, not for forwarding.
func FoldPath(path string) string {
	if isFolded(path) {
		return path
	}
	return string(AppendFolded(make([]byte, 0, len(path)), path))
}

// isFolded reports whether a path has nothing to fold for certain: no capital letter and no escape.
func isFolded(path string) bool {
	for i := range len(path) {
		if c := path[i]; c == '%' || c >= 'A' && c <= 'Z' {
			return false
		}
	}
	return true
}

// AppendFolded appends what [FoldPath] returns to dst.
func AppendFolded(dst []byte, path string) []byte {
	for i := 0; i < len(path); {
		if octet, ok := escapedAt(path, i); ok && octet >= utf8.RuneSelf {
			var n int
			dst, n = appendFoldedRune(dst, path[i:])
			i += n
			continue
		}
		dst = append(dst, lower(path[i]))
		i++
	}
	return dst
}

// appendFoldedRune folds the first letter of s, whose octets are escaped, and returns how much of s that was.
func appendFoldedRune(dst []byte, s string) (folded []byte, n int) {
	var octets [utf8.UTFMax]byte
	count := 0
	for count < len(octets) && !utf8.FullRune(octets[:count]) {
		octet, ok := escapedAt(s, 3*count)
		if !ok {
			break
		}
		octets[count] = octet
		count++
	}
	r, size := utf8.DecodeRune(octets[:count])
	if r == utf8.RuneError {
		return append(dst, strings.ToLower(s[:3])...), 3 // an octet that is no UTF-8
	}
	// As java.lang.String.equalsIgnoreCase does: by capitals first, then by small letters. So what some app server may take
	// for an ASCII letter, such as the Kelvin sign and the long s, is that letter here.
	if r = unicode.ToLower(unicode.ToUpper(r)); r < utf8.RuneSelf {
		return append(dst, byte(r)), 3 * size
	}
	const hex = "0123456789abcdef"
	for _, octet := range octets[:utf8.EncodeRune(octets[:], r)] {
		dst = append(dst, '%', hex[octet>>4], hex[octet&15])
	}
	return dst, 3 * size
}

// escapedAt returns the octet whose escape begins at s[i].
func escapedAt(s string, i int) (octet byte, ok bool) {
	if i >= len(s) || s[i] != '%' {
		return 0, false
	}
	return unescape(s[i+1:])
}

// lower returns a letter of ASCII as a small one, and any other octet as it is.
func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
