// Package cache is a shared HTTP cache (RFC 9111) as Echo middleware, with a
// tier in this process and, if there is a Redis, one that all instances share.
//
// # How a request passes
//
// [Cache.Serve] takes a request and the [Route] that [Compile] has made of its
// rule. A GET, HEAD or QUERY is looked up in the local tier: by a SHA-256 of the [Key],
// whose text is compared as well, then among the stored responses that its Vary
// fields select. A fresh one is served. Otherwise the request joins the flight
// for its key, or leads a new one (internal/collapse). The flight runs in a
// goroutine of its own, for all requests that wait: it looks into Redis, takes
// the lease on the fetch there (internal/fleet), and calls the next handler. As
// soon as the response's head is there it is known whether it may be stored
// (internal/rfc9111). If so, every waiting request that may reuse it reads the
// body while it arrives; if not, they all go to the origin at once, in parallel,
// and so do those of the next seconds ("hit for miss"). When the body is
// complete it is stored in both tiers.
//
// Any other method goes to the next handler. If it is unsafe and succeeds, what
// is stored for its URL is invalidated on every instance, and the route's tags
// are purged, before the client has its response. The client does not wait for
// the invalidation of a URL that no route can hold (MiddlewareOptions.MayHold).
//
// The files follow the request. A hit: middleware.go, serve.go, request.go,
// query.go, key.go, lookup.go, localtier.go, variants.go, entry.go, observer.go, respond.go, encodings.go, status.go;
// plan.go tells beforehand. The flight: mode.go, fetch.go, origin.go, capture.go,
// update.go, failure.go, held.go, overdue.go; then what is stored: storing.go, redistier.go,
// rediscost.go, and what one client may add: share.go; then purges: invalidate.go, tag.go.
//
// # What is promised
//
//   - One user's response is never served to another: what is stored, and what
//     is shared with waiting requests, passes the same checks of the request's
//     class (session, Authorization, cookies).
//   - A body that ended early is never stored and never sent as a complete one.
//   - What was purged is not served to a request that began after the purge
//     was confirmed, by any instance. A fetch that began before the purge does
//     not bring it back.
//   - Memory is bounded: by Options.LocalBytes, by Options.FillBytes (a quarter more for the content of QUERY requests), and for
//     what is not stored by a window of 256 KiB for each response. What all
//     instances keep in Redis is bounded by Options.RedisBytes.
//   - One client fills a 16th of it at most by QUERY, and by queries that Rule.Query does not
//     list, and of the local tier of each instance: what it asks for beyond that
//     is not stored, unless another client asks for the same.
//   - A client's Cache-Control cannot make the cache go to the origin, except
//     where Rule.ClientRevalidation says so. max-stale, no-store and
//     only-if-cached are obeyed: they cost the origin nothing.
//   - Partial responses, responses to POST, responses with Set-Cookie, event
//     streams and multipart/x-mixed-replace are not stored.
//   - A fetch that no client waits for goes on for a minute at most, and for 15
//     seconds after its last client has left if it has no Content-Length.
//
// # When things fail
//
//   - Redis is away: hits of the local tier end within a second, as this
//     instance no longer hears of purges. Requests then go to the origin, one
//     for all that want the same in this instance. Purges made meanwhile are in
//     force here and are repeated until Redis has them.
//   - Redis holds Options.RedisBytes: what is new is kept in the local tier
//     alone, until something in Redis expires.
//   - Redis has lost the purge log, or was restarted: everything stored is void.
//   - An instance dies while it fetches: the others wait for Options.Lease at
//     most, then one of them fetches.
//   - The origin hangs: when it has brought nothing for Rule.LockTimeout, one of the
//     requests that wait, on all instances, asks it again, and the others wait for
//     that one; where a stored stale response may be served instead, it is. What the
//     first request brings later is stored if nothing was stored meanwhile.
//   - The origin cannot be reached, or answers 500, 502, 503 or 504: a stored
//     stale response is served, where neither it nor the rule forbids that.
//   - The next handler panics: the panic reaches the request that caused the
//     fetch; the others go to the origin by themselves.
package cache
