package cache

import (
	"net/http"
)

// Action is what the cache does with a request by its rule alone.
type Action string

const (
	// ActionLookUp: stored responses are looked up by Plan.Key. Where none may
	// be used, the origin's response is stored if it may be.
	ActionLookUp Action = "look up"
	// ActionForward: the request goes to the next handler, and nothing is
	// looked up or stored.
	ActionForward Action = "forward"
	// ActionInvalidate: the request goes to the next handler. If it succeeds,
	// what is stored for its URL is invalidated, and the route's tags are purged.
	ActionInvalidate Action = "invalidate"
)

// Plan is what the cache would do with a request, without a look at what is
// stored.
type Plan struct {
	Action Action
	// Reason is why the request is forwarded: RFC 9211's "bypass" or "method".
	// Detail may say more: "key-too-long".
	Reason, Detail string
	// Key is what would be looked up; nil for other actions.
	Key *Key
}

// Plan says what the cache does with a request by the route's rule alone. It
// touches no entry, and calls none of the route's functions but Scheme and Bypass.
// The content of a QUERY is read by GetBody; where that is nil, it is not known, nor is the key.
func (r *Route) Plan(req *http.Request) Plan {
	if action, why := r.byMethod(req.Method); action != ActionLookUp {
		return Plan{Action: action, Reason: why}
	}
	req = r.withoutIgnoredCookies(req)
	if unkeyed(req) || r.bypass(req) {
		return Plan{Action: ActionForward, Reason: fwdBypass}
	}
	asks, detail := r.planContent(req)
	if detail != "" {
		return Plan{Action: ActionForward, Reason: fwdBypass, Detail: detail}
	}
	facts := r.target(req)
	key := r.keyOf(req, &facts, asks)
	var space [512]byte
	if len(key.appendText(space[:0])) > maxKey {
		return Plan{Action: ActionForward, Reason: fwdBypass, Detail: detailKeyTooLong}
	}
	return Plan{Action: ActionLookUp, Key: &key}
}

const detailKeyTooLong = "key-too-long"
