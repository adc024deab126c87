// Package cache is a shared HTTP cache (RFC 9111) as Echo middleware, with a
// tier in this process and, if there is a Redis, one that all instances share.
//
// # How a request passes through
//
// A GET or HEAD is looked up in the local tier: a SHA-256 of the key, whose
// text is compared as well, then the stored responses that its Vary fields
// select. A fresh one is the answer. Otherwise the request joins the flight
// for what it wants, or leads a new one: that looks into Redis, takes the
// lease on the fetch there, and calls the next handler, in a goroutine of its
// own and for everybody who waits. As soon as the response's head is there it
// is known whether it may be shared. If so, every waiting request that it may
// be reused for by itself reads the body while it arrives; if not, they all
// go to the origin at once, in parallel, and so do those that come in the next
// seconds ("hit for miss"). When the body is whole it is stored.
//
// Any other method goes to the next handler; if it is unsafe and succeeds,
// what it has changed is invalidated everywhere before the answer goes out.
//
// # What is promised
//
//   - One user's answer is never another's: what is stored, and what is shared
//     with those who wait, passes the same checks (see class).
//   - A body that ended early is never stored and never sent as a whole.
//   - What was purged is not served to a request that began after the purge
//     was confirmed, by any instance; nor does a fetch that began before
//     bring it back. If the log of purges is lost, so is everything stored.
//   - Memory is bounded: by LocalBytes, by FillBytes, and for what is not
//     stored by a window for each response.
//   - Redis failing costs hits, never answers: requests then go to the origin,
//     one for all who want the same in this instance. Purges made meanwhile
//     are in force here and are repeated until Redis has them.
//   - The origin failing leaves what is stored to be served stale, where
//     neither the response nor the rule forbids it.
//
// # What it does not do
//
// It stores no partial responses, no answers to POST, and nothing with
// Set-Cookie. A client's Cache-Control cannot make it go to the origin, except
// where Rule.ClientRevalidation says so; max-stale, no-store and
// only-if-cached are obeyed, for they cost the origin nothing.
package cache
