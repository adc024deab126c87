package rfc9111

import "time"

// Verdict is what may be done with a stored response for a request. The later
// ones need less of the origin.
type Verdict uint8

const (
	// Unusable: no stored response that the request selects.
	Unusable Verdict = iota
	// MustValidate: it may be used to validate, or to stand in when the origin
	// fails.
	MustValidate
	// StaleRefresh: it may be served stale while it is fetched again (RFC 5861
	// section 3).
	StaleRefresh
	// StaleAllowed: it may be served stale because the client's max-stale says
	// so.
	StaleAllowed
	// Fresh: it may be served.
	Fresh
)

// Request is what of a request bears on whether a stored response may be used.
type Request struct {
	Class      Class
	Field      func(name string) []string // the request's fields, as the origin sees them
	Directives *Directives                // the request's Cache-Control; nil: it has none
	// Obey: the client's no-cache, max-age and min-fresh are obeyed. Where
	// not, only max-stale, no-store and only-if-cached are.
	Obey bool
}

var noDirectives Directives // never changed

// ForcesValidation reports whether the client asks for a response that the
// origin has confirmed, and is obeyed.
func (q *Request) ForcesValidation() bool {
	d := q.Directives
	return q.Obey && d != nil && (d.NoCache || d.MaxAge.Present || d.MinFresh.Present)
}

// Age is RFC 9111 section 4.2.3's current_age.
func (r *Response) Age(now time.Time) time.Duration {
	return r.InitialAge + max(0, now.Sub(r.Received))
}

// FreshFor is how long the response is still fresh; negative is for how long
// it has been stale.
func (r *Response) FreshFor(now time.Time) time.Duration { return r.Lifetime - r.Age(now) }

// keepStale is for how long a stale response is kept to be validated, or to be
// served while the origin cannot be reached.
const keepStale = 10 * time.Minute

// KeepUntil is when the response is of no more use: stale beyond every
// permission to serve it, and too old to be worth validating.
func (r *Response) KeepUntil() time.Time {
	beyond := max(r.Stale.WhileRevalidate, r.Stale.IfError)
	if r.CanValidate() || !r.NeverStale {
		beyond = max(beyond, keepStale)
	}
	return r.Received.Add(max(0, r.Lifetime-r.InitialAge) + beyond)
}

// CanValidate reports whether the origin can be asked whether the response is
// still current (RFC 9111 section 4.3).
func (r *Response) CanValidate() bool { return r.ETag != "" || !r.LastModified.IsZero() }

// SelectedBy reports whether the request selects the response and may have it
// (RFC 9111 sections 3.5 and 4.1).
func (r *Response) SelectedBy(q *Request) bool {
	if q.Class&^r.Admits != 0 {
		return false
	}
	return len(r.Vary) == 0 || Selects(r.Vary, q.Field)
}

// Judge applies RFC 9111 section 4.2 to a response that the request selects.
// softened: the operator's soft purge has ended its freshness.
func (r *Response) Judge(q *Request, now time.Time, softened bool) Verdict {
	d := q.Directives
	if d == nil {
		d = &noDirectives
	}
	if r.NoCache || (q.Obey && d.NoCache) {
		return MustValidate
	}
	age := r.Age(now)
	left := r.Lifetime - age
	if softened {
		left = min(left, 0)
	}
	if q.Obey {
		if d.MaxAge.Valid && age > d.MaxAge.Value {
			return MustValidate
		}
		if d.MinFresh.Valid && left < d.MinFresh.Value {
			return MustValidate
		}
	}
	switch {
	case left > 0:
		return Fresh
	case r.NeverStale:
		return MustValidate
	case -left < r.Stale.WhileRevalidate:
		return StaleRefresh
	case d.MaxStale.Valid && -left < d.MaxStale.Value && !softened && r.Source == LifetimeExplicit:
		return StaleAllowed
	}
	return MustValidate
}

// CoversError reports whether the response may be served although it is stale,
// because the origin answered with an error (RFC 5861 section 4).
func (r *Response) CoversError(now time.Time) bool {
	return r.CoversOutage() && -r.FreshFor(now) < r.Stale.IfError
}

// CoversOutage reports whether the response may be served although it is
// stale, because the origin cannot be reached (RFC 9111 section 4.2.4).
func (r *Response) CoversOutage() bool { return !r.NeverStale && !r.NoCache }
