// Package store is the connection to Redis that rate limits, sessions and the
// cache share.
//
//	redis, err := store.Open(store.Options{URL: "redis://localhost:6379/0"})
//	...
//	get := goredis.NewStringCmd(ctx, "get", redis.Key("greeting"))
//	err = redis.Do(ctx, get)
//
// # How a command travels
//
// A request hands its commands to [Redis.Do]. They wait in a pipeline (one for
// each Cluster master, otherwise one) until one of its few round trips ends, and
// then travel with the commands that other requests have queued meanwhile: under
// load, hundreds of commands share one write and one read; without load, a command
// is sent at once. A [Batch] lets several middlewares of one request share a single
// round trip. Large values go by [Redis.DoLarge], through a pipeline of their own,
// so that no small command waits behind a megabyte. A [Script] that counts is run
// by a [Call].
//
// # What is promised
//
//   - No caller waits longer than Options.Timeout, whatever Redis, the network or
//     the queue does. A command whose caller stopped waiting before it was sent is
//     never sent.
//   - A [Call] runs at most once: it is never repeated after a lost reply, neither
//     by this package nor by go-redis, which would by default repeat it in a
//     Cluster. Only after NOSCRIPT, which says that the script did not run, is its
//     text sent.
//   - Everything here is safe for concurrent use, but for a Batch and a Call.
//
// # When Redis fails
//
//   - Every failure of Redis itself is an [ErrUnavailable], and so is every command
//     that Redis did not answer, for whatever reason: a password that it no longer
//     takes, a database that it does not have, a Sentinel that does not know the
//     master. None of these looks as if a key were not there. An error that Redis
//     replied to one command alone is that command's, and no outage: a Redis without
//     memory for writes still reads sessions.
//   - A dead Redis costs the first few requests their timeout. Then a breaker
//     opens, and [Redis.Do] fails at once until a probe in the background, a write,
//     has succeeded. In a Cluster each master has a breaker of its own.
//   - Redis is asked as soon as a connection is opened. If it does not answer, the
//     breaker opens before a request has to find out.
//   - [Redis.OnChange] reports when [Redis.Available] changes.
package store
