package cache

import (
	"github.com/headgate/headgate/middleware/cache/internal/fleet"
	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// Why a response was not stored, besides what RFC 9111 says.
const (
	reasonTooLarge rfc9111.Reason = "too-large"
	reasonTags     rfc9111.Reason = "too-many-tags"

	// The client's share of the cache is used up (see clientShares).
	reasonClientShare rfc9111.Reason = "client-share"

	// The entry is in the local tier, and not in Redis.
	reasonOverBudget rfc9111.Reason = "over-cache-bytes"
)

// storing is what of the request bears on whether and under what its response
// is stored.
type storing struct {
	rfc9111.Storing
	keyText  string
	ruleTags []tag
	implicit []tag  // the tags that the target implies
	origin   string // scheme and host, to which Cache-Groups belong
	stamp    fleet.Stamp
}

// newEntry makes the entry of a response that may be stored, still without a
// body. Otherwise it says why not.
func (s *storing) newEntry(a *rfc9111.Arrival) (*entry, rfc9111.Reason) {
	tags, err := responseTags(a.Header, s.origin)
	r, why := s.NewResponse(a)
	switch {
	case r == nil:
		return nil, why
	case err != nil:
		return nil, reasonTags
	}
	e := &entry{Response: *r, keyText: s.keyText, stamp: s.stamp}
	e.tags = append(append(append(e.tags, s.implicit...), s.ruleTags...), tags...)
	return e, ""
}

// updated is the entry that a 304, or the response to a HEAD, makes of the
// entry that was validated. It is nil, with the reason, if what results must
// not be stored.
func (s *storing) updated(e *entry, a *rfc9111.Arrival) (*entry, rfc9111.Reason) {
	merged, why := s.MergeNotModified(&e.Response, a)
	if merged == nil {
		return nil, why
	}
	u, why := s.newEntry(merged)
	if u == nil {
		return nil, why
	}
	u.body, u.bodyID = e.body, e.bodyID
	u.owned.by(e.owned.owner())
	u.encoded.Store(e.encoded.Load())
	return u, ""
}

// updatedToo is the entry that a 304 makes of another entry with the same
// strong validator. The request of the validation says nothing of what selects
// it, so its own selecting fields stay.
func (s *storing) updatedToo(e *entry, a *rfc9111.Arrival) *entry {
	u, _ := s.updated(e, a)
	if u == nil {
		return nil
	}
	u.Vary, u.Variant = e.Vary, e.Variant
	u.Header["Vary"] = e.Header["Vary"]
	u.Admits &= e.Admits
	return u
}
