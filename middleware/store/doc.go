// Package store is the connection to Redis that rate limits, sessions and the
// cache share, and the bounded in-process map that stands in where there is
// no Redis.
//
// # How a command travels
//
// A request hands its commands to [Redis.Do]. They wait in a queue (one per
// Cluster master, otherwise one) until one of the few pipelines in flight
// comes back, and then travel together with whatever other requests have
// queued meanwhile: under load, hundreds of commands share one write and one
// read; alone, a command leaves at once. A [Trip] lets several middlewares of
// one request share a single round trip. Large values go by [Redis.DoLarge], in
// pipelines of their own: nobody's small command waits behind a megabyte.
//
// # What is promised
//
//   - Nobody waits longer than Options.Timeout, whatever Redis, the network or
//     the queue does. A command whose caller gave up before it was sent is
//     never sent.
//   - A [Call] (a script that counts) runs at most once: it is never repeated
//     after a lost reply, neither by this package nor by go-redis, which would
//     by default repeat it in a Cluster. Only NOSCRIPT, which says that it did not
//     run, is answered by sending the script's text.
//   - A dead Redis costs the first few requests their timeout. Then a breaker
//     opens and [Redis.Do] fails at once with [ErrUnavailable] until a probe in
//     the background, a write, has succeeded. In a Cluster each master has its own.
//   - What Redis refuses to a command alone is no outage, but its answer: a Redis
//     without memory for writes still knows who is logged in.
//
// Everything here is safe for concurrent use.
package store
