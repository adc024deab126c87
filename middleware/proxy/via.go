package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// defaultPseudonym is the gateway's name in Via where Options.Pseudonym has none, and in every response.
const defaultPseudonym = "headgate"

// appendVia adds the gateway to the Via chain (RFC 9110 section 7.6.3), with
// the version of the message that it received.
func appendVia(h http.Header, major, minor int, pseudonym string, slot *[1]string) {
	var entry string
	switch {
	case major == 1 && minor == 1:
		entry = "1.1 " + pseudonym
	case major == 1 && minor == 0:
		entry = "1.0 " + pseudonym
	case minor == 0:
		entry = fmt.Sprintf("%d %s", major, pseudonym)
	default:
		entry = fmt.Sprintf("%d.%d %s", major, minor, pseudonym)
	}
	if prior := h["Via"]; len(prior) > 0 {
		entry = strings.Join(prior, ", ") + ", " + entry
	}
	slot[0] = entry
	h["Via"] = slot[:]
}

// CameBack returns a 508 for a request that this gateway has forwarded before: its Via
// has Options.Pseudonym. Forwarded again, it would come back for ever. It is nil for
// all others. Forward asks by itself; who holds requests up before Forward, as a cache
// does that waits for a like request's answer, asks beforehand.
func (u *Upstream) CameBack(r *http.Request) *Error {
	own := u.options.Pseudonym
	for _, line := range r.Header["Via"] {
		for member := range strings.SplitSeq(line, ",") {
			if words := strings.Fields(member); own != "" && len(words) > 1 && words[1] == own {
				return &Error{Status: http.StatusLoopDetected, Kind: KindLoop, Upstream: u.name, Err: errors.New("the gateway's own name is in Via")}
			}
		}
	}
	return nil
}
