// Package server is the gateway: it compiles a policy into routes, listens,
// and takes requests through them.
//
// # How a request passes through
//
// Package listener hands a request over whose framing can be read in one way only.
// front.go is the front door: the request gets an ID, its client's address and
// the generation of the policy that it will end with (begin), host and path get the
// one form that everything behind sees (normalise), and the matcher finds the
// route (dispatch). What a request and its answer are known for is in its exchange,
// which is the request's context.
//
// A route is a chain of Echo handlers, made in route.go in the order of their
// running: whose API key (identify), CORS and maintenance, whether it may
// pass (admit: the deny cache, then session and limits in one round trip to Redis,
// then the session's rule), the body's size, the cache, and who answers: an
// upstream (forward.go), or the policy itself (answers.go).
//
// On the way back, forward.go takes from the app's response what is meant for the gateway,
// limits that count by the answer are settled just before it goes out, and observe, which runs
// however a request ends, writes metrics and the access log.
//
// # Generations
//
// A policy compiles into one immutable generation (generation.go). All that can be
// wrong with it comes out before anything has changed; then one pointer is
// swapped. What outlives policies is in parts.go: the connection to Redis,
// counters, sessions, the cache, and the pools of app servers with their
// connections and health.
//
// # When things fail
//
// Answers of the gateway's own are RFC 9457 problem details (problem.go). Once a
// response has begun, a failure aborts the connection, so that nobody takes half an
// answer for a whole one. Without Redis the gateway goes on: limits as their
// on_redis_error says, optional sessions as anonymous, required ones with 503,
// the app uncached. A policy that cannot run leaves the last good one running.
package server
