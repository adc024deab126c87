// Package proxy forwards requests to upstreams: groups of interchangeable app
// servers that requests are balanced over, and whose health is watched.
//
// # How a request passes through
//
// [Upstream.Handler] makes a handler for one route; its [Handler.Forward] (or
// ServeHTTP) wraps the request in an exchange and hands it to the upstream's
// httputil.ReverseProxy, which calls back in this order:
//
//   - rewrite (headers.go) makes the outbound request: the path as it was
//     routed, the query byte for byte, forwarding headers of our own.
//   - RoundTrip (roundtrip.go) chooses a server (pool.go, balance.go), makes
//     an attempt at it (attempt.go), and perhaps another at another server.
//   - modifyResponse (response.go) sees to the response that is passed on.
//
// However that ends, finish (exchange.go) settles the attempt: the server gets
// its place back, and its breaker and the observer hear the outcome.
//
// # What is promised
//
//   - Bodies stream in both directions; nothing is buffered but the first
//     [MaxReplay] bytes of idempotent requests that may be tried again.
//   - A request that is not idempotent reaches a server at most once. An
//     idempotent one is tried on another server, within Config.Retries and the
//     retry budget, as long as nothing has reached the client.
//   - A failure before the response is a typed [*Error], and nothing has been
//     written. A failure within the response aborts it with
//     http.ErrAbortHandler: what was cut short never looks complete.
//   - What a client does (going away, a body that is too large, slow or
//     malformed) is never held against a server.
//   - When no server is fit, requests go to all of them, since health checks
//     may be wrong and a failing server is better than none. 503 is for
//     servers that are full.
//   - WebSocket is the one protocol that connections are upgraded to; through
//     others (h2c) a client could get past the gateway. [Upgrades] tells
//     WebSockets to go when the gateway does.
//   - Where a response begins before the request's body has ended, both go on,
//     and an HTTP/1 connection is closed after it: no rest of a body is ever
//     taken for a request.
//   - [Upstream.Update] keeps the connections, the health and the counters of
//     servers that stay, and does not touch requests in flight.
//
// # Deliberate choices
//
// X-Forwarded-For and Forwarded name one address, the client's. Via is added in
// both directions. A valid traceparent is passed on; without one the proxy starts
// a trace, by the rule of [EnsureTraceparent]. A server's URL has no path: what is forwarded is
// exactly what was routed.
package proxy
