// Package collapse lets concurrent requests for one thing share one fetch,
// inside one process.
//
// The first request for a key leads a [Flight]; those that come while it is
// under way follow it. The flight runs in a goroutine of its own and outlives
// the request that caused it. As soon as the response's head is there the
// flight is resolved with an outcome; every request then decides by itself
// whether the outcome is for it. A body that is still under way is a [Stream]
// that every request reads at its own pace. A flight that brings nothing for long
// is overdue ([Flight.Watch]): one of the requests that wait leads another, and all have
// what comes first ([Group.Settle]). [Recent] remembers for a short time
// what is known of a key: above all that its responses cannot be shared ("hit
// for miss"), so that the next requests do not wait for a response that they can't share.
//
// The package knows nothing of HTTP semantics, of what is stored, or of other
// instances.
package collapse
