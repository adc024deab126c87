package rfc9111

import (
	"net/http"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
)

// Policy is the freshness that the operator assigns to responses, besides what
// the origin says. The zero Policy assigns none.
type Policy struct {
	// TTL is the freshness where the origin gives none, for statuses 200, 203,
	// 204, 300, 301 and 308. 0: none.
	TTL time.Duration
	// ForceTTL replaces the origin's freshness for the same statuses. 0: the
	// origin's word counts.
	ForceTTL time.Duration
	// Stale is for responses that do not say so themselves.
	Stale Stale[time.Duration]
	// Heuristic allows RFC 9111 section 4.2.2's tenth of the response's age.
	Heuristic bool
	// Errors is the freshness by status where the origin gives none.
	Errors map[int]time.Duration
}

// Stale is for how long after the end of its freshness a response may be served (RFC 5861).
type Stale[T any] struct {
	WhileRevalidate T // while one request fetches a new one
	IfError         T // when the origin answers 500, 502, 503 or 504
}

// LifetimeSource is who gave a freshness lifetime. What the operator's policy
// assigned does not hold for requests with cookies.
type LifetimeSource uint8

const (
	// LifetimeNone: neither the origin nor the policy said anything; the
	// response is stale at once and can only be validated.
	LifetimeNone LifetimeSource = iota
	// LifetimeExplicit: s-maxage, max-age or Expires of the origin.
	LifetimeExplicit
	// LifetimeAssigned: the policy's TTL, ForceTTL or Errors.
	LifetimeAssigned
	// LifetimeHeuristic: RFC 9111 section 4.2.2.
	LifetimeHeuristic
)

// lifetime computes RFC 9111 section 4.2.1 for a shared cache: s-maxage, else
// max-age, else Expires less Date, else what the policy assigns, else the
// heuristic if the policy allows it.
func (p *Policy) lifetime(a *Arrival, d *Directives, targeted bool, date time.Time) (time.Duration, LifetimeSource) {
	if p.ForceTTL > 0 && assignable(a.Status) {
		return p.ForceTTL, LifetimeAssigned
	}
	for _, age := range []Delta{d.SMaxAge, d.MaxAge} {
		if age.Present {
			return age.Value, LifetimeExplicit // an invalid one is 0: stale
		}
	}
	if lines := a.Header["Expires"]; len(lines) > 0 && !targeted {
		// An invalid date, "0" above all, is a time in the past (section
		// 5.3). Of several Expires lines the first counts.
		if expires, ok := ParseDate(httpx.TrimOWS(lines[0]), a.Received); ok && expires.After(date) {
			return min(expires.Sub(date), MaxDelta), LifetimeExplicit
		}
		return 0, LifetimeExplicit
	}
	if d.NoCache {
		return 0, LifetimeNone
	}
	if ttl, ok := p.Errors[a.Status]; ok {
		return ttl, LifetimeAssigned
	}
	if p.TTL > 0 && assignable(a.Status) {
		return p.TTL, LifetimeAssigned
	}
	if p.Heuristic && (heuristicStatus(a.Status) || d.Public) {
		if modified, ok := ParseDate(a.Header.Get("Last-Modified"), a.Received); ok && modified.Before(date) {
			return min(date.Sub(modified)/10, maxHeuristic), LifetimeHeuristic
		}
	}
	return 0, LifetimeNone
}

// maxHeuristic bounds the 10 % rule for documents that have not changed in
// years: a guess holds for a day at most.
const maxHeuristic = 24 * time.Hour

// assignable are the statuses that the policy's TTL is given to: responses
// that say what the resource is. Errors have Policy.Errors.
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
func responseDate(a *Arrival) time.Time {
	if lines := a.Header["Date"]; len(lines) == 1 {
		if date, ok := ParseDate(lines[0], a.Received); ok {
			return date
		}
	}
	return a.Received
}

// InitialAge is RFC 9111 section 4.2.3's corrected_initial_age: the response's
// age when it was received.
func InitialAge(a *Arrival) time.Duration { return initialAge(a, responseDate(a)) }

func initialAge(a *Arrival, date time.Time) time.Duration {
	apparent := max(0, a.Received.Sub(date))
	corrected := ageValue(a.Header["Age"]) + max(0, a.Received.Sub(a.Requested))
	// Bounded, for a Date in the year 1 is further off than a Duration holds.
	return min(max(apparent, corrected), MaxDelta)
}

// ageValue reads Age, RFC 9111 section 5.1: of a list the first member counts,
// and a value that is no non-negative integer is ignored.
func ageValue(lines []string) time.Duration {
	if len(lines) == 0 {
		return 0
	}
	first, _, _ := strings.Cut(lines[0], ",")
	age, _ := parseDelta(httpx.TrimOWS(first))
	return age
}

// ServerFailed reports whether a status is one of RFC 5861 section 4's errors.
func ServerFailed(status int) bool {
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}
