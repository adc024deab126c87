package httpx

import "unicode/utf8"

// FieldText returns a field's value as text. Fields have octets; most programs write UTF-8, and some, such as Node's
// setHeader, Latin-1, as HTTP had it once (RFC 9110 section 5.5). What is not UTF-8 is therefore taken for Latin-1, which
// every sequence of octets is.
func FieldText(value string) (text string, latin1 bool) {
	if utf8.ValidString(value) {
		return value, false
	}
	runes := make([]rune, len(value))
	for i := range len(value) {
		runes[i] = rune(value[i])
	}
	return string(runes), true
}

// Latin1 returns the octets that [FieldText] has read as Latin-1.
func Latin1(text string) string {
	octets := make([]byte, 0, len(text))
	for _, r := range text {
		octets = append(octets, byte(r))
	}
	return string(octets)
}
