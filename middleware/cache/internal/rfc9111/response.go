package rfc9111

import (
	"net/http"
	"time"
)

// Class is what about a request keeps it from sharing responses freely. One
// rule serves for storing and for reuse: a response admits the classes that
// its own directives make shareable, and both the request that fetched it and
// the request that wants it must be of admitted classes only.
type Class uint8

const (
	// WithSession: the request has a live session; it shares responses with
	// "public" alone.
	WithSession Class = 1 << iota
	// WithAuthorization: the request has an Authorization field (RFC 9111
	// section 3.5).
	WithAuthorization
	// WithCookie: the request has a cookie that the rule does not ignore; only
	// the origin's own freshness counts.
	WithCookie
)

// Arrival is a response's head as the origin sent it, when its request was
// sent, and when it was received.
type Arrival struct {
	Status              int
	Header              http.Header
	Requested, Received time.Time
}

// Response is a stored response as far as RFC 9111 looks at it: everything but
// its body.
type Response struct {
	Vary    []Selector
	Variant VariantID // the hash of Vary

	Status int
	Header http.Header // as stored: without what must not be, with Date and Content-Length

	Date       time.Time     // of the response, for "the most recent one"
	Received   time.Time     // section 4.2.3 response_time
	InitialAge time.Duration // section 4.2.3 corrected_initial_age
	Lifetime   time.Duration // section 4.2.1, counted like InitialAge
	Source     LifetimeSource

	Stale Stale[time.Duration]

	NoCache    bool  // it must be validated before every reuse
	NeverStale bool  // must-revalidate, proxy-revalidate or s-maxage
	Admits     Class // the classes of requests that may share it

	ETag         string    // empty: none that can be sent to the origin
	LastModified time.Time // zero: none
}

// SameVariant reports whether two responses to one key answer the same
// requests. Responses that admit other classes of requests live side by side.
func (r *Response) SameVariant(other *Response) bool {
	return r.Variant == other.Variant && r.Admits == other.Admits
}

// SetValidators reads ETag and LastModified from the header. now resolves
// two-digit years.
func (r *Response) SetValidators(now time.Time) {
	r.ETag, r.LastModified = "", time.Time{}
	if tags := r.Header["Etag"]; len(tags) == 1 && validETag(tags[0]) {
		r.ETag = tags[0]
	}
	if modified := r.Header["Last-Modified"]; len(modified) == 1 {
		if t, ok := ParseDate(modified[0], now); ok {
			r.LastModified = t
		}
	}
}
