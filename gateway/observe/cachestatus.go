package observe

import (
	"net/http"
	"strings"
)

// CacheOutcome returns what the gateway's own member of Cache-Status (RFC 9211) says, in
// one word for the access log: hit, stale, purged, or why the app was asked.
func CacheOutcome(h http.Header) string {
	lines := h["Cache-Status"]
	if len(lines) == 0 {
		return ""
	}
	// Ours is the last one: caches append on the way to the client.
	ours := lines[len(lines)-1]
	if i := strings.LastIndex(ours, "headgate;"); i >= 0 {
		ours = ours[i:]
	} else {
		return ""
	}
	outcome := ""
	for param := range strings.SplitSeq(ours, ";") {
		param = strings.TrimSpace(param)
		switch why, forwarded := strings.CutPrefix(param, "fwd="); {
		case param == "hit":
			outcome = "hit"
		case forwarded:
			outcome = why
		case param == "detail=purged":
			outcome = "purged"
		case strings.HasPrefix(param, "ttl=-") && outcome == "hit":
			outcome = "stale"
		}
	}
	return outcome
}
