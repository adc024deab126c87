// Package fleet is what instances of the cache agree on in Redis: the log of
// purges, leases on fetches, and the account of what the cache keeps there.
//
// Purges go to one log with a random identity, a growing epoch and a trim
// floor. An instance follows the log with a [Member]: it learns of new purges by
// message and by a heartbeat, applies them to its [View] and acknowledges them.
// While it follows, it holds a one-second lease on its local tier. A purge is
// confirmed when every live instance has acknowledged its epoch or its lease
// has ended. An entry carries the [Stamp] from before its fetch began, and is
// void if one of its tags was purged later, or if the log is another one, is
// younger, or was trimmed past it.
//
// A [Lease] is the right to ask the origin on behalf of all instances. Flights
// of other instances wait for it with [Member.Wait], woken by a message, with
// polling underneath for a message that is lost.
//
// An [Account] bounds the bytes that all instances together keep in Redis.
//
// Without Redis a [View] alone is the log of one process.
package fleet
