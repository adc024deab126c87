package cache

import (
	"net/http"
	"time"

	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// Freshness is how long a stored response is used: while it is fresh, and after that while it is revalidated, or
// while the origin fails.
type Freshness struct {
	Fresh, WhileRevalidate, IfError time.Duration
}

// Freshness says how long a response to a GET is used whose origin says nothing of caching. Ok is false where it is
// not stored. It is for logs, which have a response's status and size alone.
func (r *Rule) Freshness(status int, bytes int64, received time.Time) (_ Freshness, ok bool) {
	if bytes > r.MaxBody {
		return Freshness{}, false
	}
	policy := r.freshness()
	storing := rfc9111.Storing{Policy: &policy, Field: func(string) []string { return nil }}
	stored, why := storing.NewResponse(&rfc9111.Arrival{Status: status, Header: http.Header{}, Requested: received, Received: received})
	if why != "" {
		return Freshness{}, false
	}
	return Freshness{stored.Lifetime, stored.Stale.WhileRevalidate, stored.Stale.IfError}, true
}

// freshness is what of the rule RFC 9111 has a say in.
func (r *Rule) freshness() rfc9111.Policy {
	return rfc9111.Policy{
		TTL: r.TTL, ForceTTL: r.ForceTTL, Stale: rfc9111.Stale[time.Duration]{WhileRevalidate: r.StaleWhileRevalidate, IfError: r.StaleIfError},
		Heuristic: r.Heuristic, Errors: r.Errors,
	}
}

// ServerFailed reports whether a status is one of the errors in whose place a stale response is served (RFC 5861 section 4).
func ServerFailed(status int) bool { return rfc9111.ServerFailed(status) }
