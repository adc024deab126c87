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
	Directives *Directives                // the request's Cache-Control
	// Obey: the client's no-cache, max-age and min-fresh are obeyed. Where
	// not, only max-stale, no-store and only-if-cached are.
	Obey bool
}

// ForcesValidation reports whether the client asks for a response that the
// origin has confirmed, and is obeyed.
func (q *Request) ForcesValidation() bool {
	d := q.Directives
	return q.Obey && (d.NoCache || d.MaxAge.Present || d.MinFresh.Present)
}

// SelectedBy reports whether the request selects the response and may have it
// (RFC 9111 sections 3.5 and 4.1).
func (r *Response) SelectedBy(q *Request) bool {
	return q.Class&^r.Admits == 0 && Selects(r.Vary, q.Field)
}

// Judge applies RFC 9111 section 4.2 to a response that the request selects.
// softened: the operator's soft purge has ended its freshness.
func (r *Response) Judge(q *Request, now time.Time, softened bool) Verdict {
	d := q.Directives
	if r.NoCache || (q.Obey && d.NoCache) {
		return MustValidate
	}
	left := r.FreshFor(now)
	if softened {
		left = min(left, 0)
	}
	if q.Obey {
		if d.MaxAge.Valid && r.Age(now) > d.MaxAge.Value {
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
	case -left < r.StaleWhileRevalidate:
		return StaleRefresh
	case d.MaxStale.Valid && -left < d.MaxStale.Value && !softened && r.Source == LifetimeExplicit:
		return StaleAllowed
	}
	return MustValidate
}

// CoversError reports whether the response may be served although it is stale,
// because the origin answered with an error (RFC 5861 section 4).
func (r *Response) CoversError(now time.Time) bool {
	return r.CoversOutage() && -r.FreshFor(now) < r.StaleIfError
}

// CoversOutage reports whether the response may be served although it is
// stale, because the origin cannot be reached (RFC 9111 section 4.2.4).
func (r *Response) CoversOutage() bool { return !r.NeverStale && !r.NoCache }
