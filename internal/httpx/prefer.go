package httpx

import (
	"strings"
	"time"
)

// Preferences is what of a client's Prefer (RFC 7240) a gateway acts on. The zero value prefers nothing.
type Preferences struct {
	RespondAsync bool          // the client takes 202 and asks later (section 4.1)
	Wait         time.Duration // how long the client is willing to wait (section 4.3)
	HasWait      bool          // Wait was given; it may be 0
}

// maxWaitDigits bounds the seconds of wait, so that they fit into a Duration.
const maxWaitDigits = 9

// ParsePrefer reads all lines of Prefer. Of a preference that is given twice the first counts, and one that is malformed
// or not known is ignored, as section 2 says; so are parameters.
func ParsePrefer(lines []string) (p Preferences) {
	async := false // the first respond-async has been seen, with a value that it does not have or without
	for member := range Members(lines) {
		preference, _, _ := cutUnquoted(member, ';')
		name, value, _ := strings.Cut(preference, "=")
		name, value = TrimOWS(name), unquoted(TrimOWS(value))
		switch {
		case EqualFold(name, "respond-async") && !async:
			async, p.RespondAsync = true, value == ""
		case EqualFold(name, "wait") && !p.HasWait:
			p.Wait, p.HasWait = parseSeconds(value)
		}
	}
	return p
}

// unquoted is what a word stands for: a token as it is, a quoted string without its quotes.
func unquoted(word string) string {
	if len(word) >= 2 && word[0] == '"' && word[len(word)-1] == '"' {
		return word[1 : len(word)-1]
	}
	return word
}

// parseSeconds reads delta-seconds (RFC 9110 section 5.6.7). More than fits is the most that does.
func parseSeconds(s string) (d time.Duration, ok bool) {
	if s == "" {
		return 0, false
	}
	n := int64(0)
	for i := range len(s) {
		if !IsDigit(s[i]) {
			return 0, false
		}
		if i < maxWaitDigits {
			n = n*10 + int64(s[i]-'0')
		}
	}
	if len(s) > maxWaitDigits {
		n = 999_999_999
	}
	return time.Duration(n) * time.Second, true
}
