// Package ratelimit limits how often clients may call: exactly, atomically over
// several limits, in one process or in many that share a Redis.
//
//	e := echo.New()
//	e.Use(ratelimit.Middleware(ratelimit.Options{
//		Limits: []ratelimit.Limit{{Name: "per-ip", Requests: 100, Window: time.Minute}},
//	}))
//
// # How a request passes through
//
// A [Limiter] holds the [Limit]s that apply together; the [Counters] behind it
// hold all state, and outlive it. [Limiter.Check] decides a request:
//
//  1. Which limits apply (Allow), at which size (Plans), and whose counters
//     they are (Key): the values of the key are hashed.
//  2. Is one of them known to deny this key? Then the deny cache answers, and
//     nothing leaves the process. [Limiter.Denied] asks this alone, early.
//  3. Otherwise all limits are decided at once, by memory.go in this process or
//     by the scripts of the lua folder in Redis: each algorithm brings its
//     state forward to now and says whether the cost fits; if all agree, all
//     are charged, otherwise none is.
//  4. A denial is remembered until the client could next be admitted, counted
//     towards a ban, and answered with 429, Retry-After and the RateLimit fields
//     ([Outcome.Deny]).
//  5. A limit that counts by the answer ([Count]) is settled when the answer is
//     known ([Outcome.Settle]); a check that rested on a wrong guess of the user
//     is undone ([Outcome.Refund]) and made again.
//
// [Limiter.Middleware] does all of it in an Echo app; a gateway that shares a
// round trip between session and limits calls the steps itself, and lets
// [Limiter.Pass] do the rest.
//
// The algorithms are pure functions of state, limit, time and cost, one to a
// file: fixed_window.go, sliding_window.go, sliding_log.go, token_bucket.go.
// The Lua files of the same names mirror them function by function.
//
// # What it promises
//
//   - A denied request consumes nothing, from any limit.
//   - Retry-After is the second at which one request of the same cost would be
//     admitted, a second earlier it would not.
//   - A check runs in Redis once at most; where its reply is lost, what it
//     counted stays counted.
//   - All instances go by Redis' clock; theirs may differ.
//   - Every key in Redis expires. Memory in this process is bounded in bytes;
//     under a flood of keys it forgets counters, which errs towards admitting.
//   - A denial is never remembered past the moment at which it would end of
//     itself. An edited limit starts clean, and an operator's reset is heeded
//     here at once and elsewhere within a second.
//   - While Redis is away each limit does as its [OnRedisError] says, and nobody
//     waits for it beyond the store's timeout. Local counters are dropped when
//     it is back.
//
// In a Cluster, limits of one request whose keys tell clients apart differently
// lie in different slots: when one of them denies, what the others had consumed
// is refunded a moment later. In that moment too few may be admitted, never too
// many.
package ratelimit
