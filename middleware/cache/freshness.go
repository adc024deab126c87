package cache

import (
	"net/http"
	"strings"
	"time"
)

// origin of a freshness lifetime. It matters who said it: what the rule
// assigned on its own does not hold for requests with cookies.
type lifetimeSource uint8

const (
	lifetimeNone      lifetimeSource = iota // stale at once; the origin said nothing and nor did the rule
	lifetimeExplicit                        // s-maxage, max-age or Expires
	lifetimeAssigned                        // the rule's TTL, ForceTTL or Errors
	lifetimeHeuristic                       // RFC 9111 section 4.2.2
)

// freshnessLifetime computes RFC 9111 section 4.2.1 for a shared cache:
// s-maxage, else max-age, else Expires less Date, else what the rule assigns,
// else the heuristic if the rule asks for one.
func freshnessLifetime(rule *rule, status int, h http.Header, d *directives, targeted bool, date, now time.Time) (time.Duration, lifetimeSource) {
	if rule.ForceTTL > 0 && assignable(status) {
		return rule.ForceTTL, lifetimeAssigned
	}
	for _, age := range []delta{d.sMaxAge, d.maxAge} {
		if age.present {
			return age.d, lifetimeExplicit // an invalid one is 0: stale
		}
	}
	if lines := h["Expires"]; len(lines) > 0 && !targeted {
		// An invalid date, "0" above all, is a time in the past (section
		// 5.3). Of several Expires lines the first counts.
		if expires, ok := parseDate(trimOWS(lines[0]), now); ok && expires.After(date) {
			return min(expires.Sub(date), maxDelta), lifetimeExplicit
		}
		return 0, lifetimeExplicit
	}
	if d.noCache {
		return 0, lifetimeNone
	}
	if ttl, ok := rule.Errors[status]; ok {
		return ttl, lifetimeAssigned
	}
	if rule.TTL > 0 && assignable(status) {
		return rule.TTL, lifetimeAssigned
	}
	if rule.Heuristic && (heuristicStatus(status) || d.public) {
		if modified, ok := parseDate(h.Get("Last-Modified"), now); ok && modified.Before(date) {
			return min(date.Sub(modified)/10, maxHeuristic), lifetimeHeuristic
		}
	}
	return 0, lifetimeNone
}

// maxHeuristic bounds the 10 % rule for documents that have not changed in
// years: a guess is not believed for longer than a day.
const maxHeuristic = 24 * time.Hour

// assignable are the statuses that the rule's own TTL is given to: answers
// that say what the resource is. Errors have Rule.Errors.
func assignable(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308:
		return true
	}
	return false
}

// heuristicStatus are the statuses that are heuristically cacheable, RFC 9110
// section 15.1, less 206.
func heuristicStatus(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// responseDate is the Date of a response, or the time it was received if it
// has none that can be read (RFC 9110 section 6.6.1).
func responseDate(h http.Header, received time.Time) time.Time {
	if lines := h["Date"]; len(lines) == 1 {
		if date, ok := parseDate(lines[0], received); ok {
			return date
		}
	}
	return received
}

// initialAge is RFC 9111 section 4.2.3's corrected_initial_age: the response's
// age when it was received. requested is when its request was sent.
func initialAge(h http.Header, date, requested, received time.Time) time.Duration {
	apparent := max(0, received.Sub(date))
	corrected := ageValue(h["Age"]) + max(0, received.Sub(requested))
	// Bounded, for a Date in the year 1 is further off than a Duration holds.
	return min(max(apparent, corrected), maxDelta)
}

// ageValue reads Age, RFC 9111 section 5.1: of a list the first member counts,
// and a value that is no non-negative integer is ignored.
func ageValue(lines []string) time.Duration {
	if len(lines) == 0 {
		return 0
	}
	first, _, _ := strings.Cut(lines[0], ",")
	age, _ := parseDelta(trimOWS(first))
	return age
}
