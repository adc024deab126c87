// Package ratelimit limits how often clients may call: exactly, atomically over
// several limits, in one process or in many that share a Redis.
//
//	e := echo.New()
//	e.Use(ratelimit.Middleware(ratelimit.Options{
//		Limits: []ratelimit.Limit{{Name: "per-ip", Requests: 100, Window: time.Minute}},
//	}))
//
// # How a request passes
//
// A [Limiter] holds the [Limit]s that apply together; the [Counters] behind it
// hold all state, and outlive it. A request passes these steps, which
// [Limiter.Middleware] calls in an Echo app and the gateway's pipeline by itself:
//
//  1. [Limiter.Denied] asks the deny cache, which makes no round trip and can stand
//     before the session is loaded. [Limiter.Check] asks it as well.
//  2. [Limiter.Check] finds out which limits apply (Allow), at which size (Plans),
//     and the key of each one's counter, which it hashes. It decides all of them at
//     once, in the memory of this process (memory.go) or by the scripts of the lua
//     folder in Redis: each algorithm brings its state forward to now and says
//     whether the cost fits; if all limits agree, all are charged, otherwise none.
//     A request that only reservations of others deny, which count by their responses,
//     waits in line for those (wait.go).
//  3. A denial stays in the deny cache until the client could next be admitted, and
//     counts towards a ban. [Result.Deny] writes it: 429, Retry-After and the
//     RateLimit fields.
//  4. [Result.WriteHeaders] adds the RateLimit fields to the response of a request
//     that is allowed.
//  5. [Result.Settle] settles limits that count by the response ([Count]) once the
//     response is known.
//  6. [Result.Release] gives back the place that a request holds under a limit of
//     requests in flight ([Limit.Concurrent]), once its response is complete.
//
// A limit by account is no part of the admission: whose account a request tries to log
// in to is known only with the app's response, which [Limiter.CheckAttempt] may deny.
//
// A server that sends the session and the limits in one round trip checks before it
// knows the user, by the user that the cookie stood for last. If that was wrong,
// [Result.Refund] undoes the check, and it is made again.
//
// The algorithms are pure functions of state, limit, time and cost, one to a file:
// fixed_window.go, sliding_window.go, sliding_log.go, token_bucket.go, and concurrent.go
// for requests in flight. The Lua files
// of the same names mirror them function by function, and algorithms.go lists them.
//
// # What is promised
//
//   - A denied request consumes nothing, from any limit.
//   - Retry-After is the second at which one request of the same cost would be
//     admitted; a second earlier it would not.
//   - A check runs in Redis at most once. What it counted stays counted if its reply
//     is lost.
//   - A client that disconnects before the response is still charged; otherwise
//     disconnecting would make retries free.
//   - A request that would be admitted if all reservations were given back is not denied
//     before it has waited [MaxWait] for that, or too many wait: a hundred for one counter
//     of this instance, ten thousand in all. In an instance those who wait are admitted in
//     their order. What waits has consumed nothing.
//   - A limit of zero requests denies always, with 403, and asks no counter (closed.go).
//   - All instances count by the clock of Redis; their own clocks may differ.
//   - Every key in Redis expires. Memory in this process is bounded in bytes: under a
//     flood of keys it drops counters, which errs towards admitting. Each limit has a
//     share of its own, within which counters that are near their limit go last.
//   - Requests in flight are counted exactly over all instances: each holds a lease in
//     Redis, which its instance renews (leases.go). Those of an instance that was killed
//     are free after 8 seconds. A Redis that has lost its memory has them back within
//     some 3 seconds; an instance that stands still for 8 seconds loses its places until
//     it goes on.
//   - The deny cache holds no denial longer than it would last by itself. An edited
//     limit starts clean. An operator's reset takes effect in this instance at once
//     and in the others within a second.
//
// # When Redis fails
//
//   - Each limit does as its [OnRedisError] says, and no request waits for Redis longer than
//     the store's timeout.
//   - Local goes on from what Redis last said of a counter, as far as the memory reaches
//     (told.go), and takes its part of what is left: that of the traffic of the last window
//     (traffic.go). A client whose traffic is spread over the instances as before is admitted
//     its limit, all together. One whose traffic moves to another instance meanwhile is
//     admitted that instance's part of the limit until Redis is back. One of which Redis
//     has said nothing to an instance has the whole limit there.
//   - What is admitted meanwhile is reported to Redis when it is back, each report once
//     (reports.go), within some 0.1 s. A check that Redis has not replied to in time is not
//     reported: it is most likely carried out late. So a Redis that dies loses what was
//     under way to it, besides what it had not saved.
//   - State in Redis that lies more than a window ahead of its clock, as after a failover to
//     a host whose clock is behind, counts from now: no client waits until that clock has
//     caught up. Leases and bans last their length from then on.
//   - In a Cluster, limits of one request that have different keys lie in different
//     slots. When one of them denies, what the others have consumed is refunded a
//     moment later. In that moment too few requests may be admitted, never too many.
package ratelimit
