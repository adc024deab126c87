// Package server is the gateway: it compiles a policy, listens, and takes requests
// through it.
//
// # How a request passes
//
// Package listener hands a request over whose framing can be read in one way only.
// ServeHTTP (server.go) gives it to the pipeline of the policy that runs, which answers it:
// see package pipeline.
//
// # Generations
//
// A policy compiles into one immutable generation (generation.go). All that can be
// wrong with it comes out before anything has changed; then one pointer is swapped.
// What outlives policies is in parts.go: the connection to Redis, counters, sessions, the
// cache, and the pools of app servers with their connections and health. reload.go
// decides whether a policy runs, revisions.go remembers which did.
//
// # When things fail
//
// A policy that cannot run leaves the last good one running. The admin listener says so, and
// goes on while Redis is away: an outage of Redis must not take every instance out of
// rotation.
package server
