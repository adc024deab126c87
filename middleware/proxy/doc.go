// Package proxy forwards requests to upstreams: groups of interchangeable app
// servers that requests are balanced over, and whose health is watched. It works
// in any Echo app ([Middleware], [Handler.Echo]) or net/http server ([New],
// [Upstream.Handler]), with no policy file.
//
// # How a request passes through
//
// [Handler.Forward] is the one way through; Echo and ServeHTTP call it and turn
// its [Error] into a response. Its state is one transaction (transaction.go), and its steps follow one another:
//
//   - rewrite (rewrite.go) makes the outbound request: the path and query as
//     they came, the proxy's own forwarding fields (fields.go, forwarded.go, traceparent.go).
//   - roundTrip (roundtrip.go) reads the request's body (requestbody.go), begins the one deadline of all tries (clock.go), and makes an attempt
//     (attempt.go) at a server (pool.go, balance.go), and perhaps another at another server.
//   - An attempt goes over HTTP/1.1 (http1.go, internal/http1client) or HTTP/2 (http2.go, http2conn.go, preface.go, cancelable.go), as transport.go decides,
//     and reads the request's body from its beginning (bodyview.go). A short response is read to its end here (held.go).
//   - respond (response.go) cleans the response and passes it on, or upgrade (switch.go, tunnel.go) a WebSocket.
//
// However that ends, finish (transaction.go) ends the last attempt: the server
// has one request less in flight, its breaker (breaker.go) and the Observer get
// the result.
//
// # What is promised
//
//   - A request's body is read before a server is chosen, and a response's while its client is slow to take it,
//     within Config.Buffer (buffer.go, internal/spool): a slow client holds no server's connection. What has no
//     room streams, and so do gRPC, event streams and routes that are Unbuffered. To try a request again the proxy keeps
//     at most the first [MaxReplay] bytes of its body, and it holds back at most 64 KiB of a response.
//
//   - The path is forwarded as the request's URL has it, the query byte for
//     byte. A server's URL has no path of its own.
//
//   - A server is told the client's address, as package clientip determined it,
//     in X-Forwarded-For and Forwarded, each with that one address. What the
//     client wrote in these and similar fields is removed ([StripForwarding]).
//     Via is added in both directions. A valid traceparent is passed on; without
//     one the proxy starts a trace, by the rule of [EnsureTraceparent].
//
//   - WebSocket is the only protocol that connections are upgraded to: through
//     others (h2c) a client could send requests that the gateway does not see.
//     [Upgrades] ends WebSockets when the program shuts down.
//
//   - If a response begins before the request's body has ended, both go on, and
//     an HTTP/1 connection is closed after it: the rest of a body is never read
//     as the next request.
//
//   - The cookie of balance: cookie (sticky.go) tells nothing of the servers, is the same on all instances, and goes no further than the proxy.
//
//   - [Upstream.Update] keeps the connections, the health and the counters of
//     servers that stay, and does not affect requests in flight.
//
//   - A server whose URL has a name is as many servers as the name has addresses
//     (names.go, internal/discovery): DNS is asked for them in the background,
//     and each has its own connections, health checks, breaker and slow start. An
//     address that leaves gets no new requests. Host, TLS and metrics have the
//     URL's name.
//
//   - The files that Config.TLS names are looked at every second (tlsfiles.go). When they change, the servers' connections are replaced: those with
//     a request end with it. Files that can't be used are logged once, and the last good ones stay.
//
// # When things fail
//
//   - A failure before the response is an [*Error] with a status for the client,
//     and nothing has been written. A failure within the response panics with
//     http.ErrAbortHandler, so that a truncated response never looks complete.
//   - An idempotent request is retried on another server, within Config.Retries
//     and the retry budget (budget.go), after the failures that Config.Retry names (retry.go), as long as no byte of the response has
//     been passed on. Where there is no other, a server that has closed a used connection without a byte of a response is tried again over
//     a new one. Another request reaches a server at most once.
//   - What a server says, over HTTP/2, that it has not processed (REFUSED_STREAM, GOAWAY) goes to another at once, whatever the method,
//     and does not count against Config.Retries.
//   - Where DNS fails or has no address for a name, the last addresses stay.
//   - Config.Timeout is one deadline over all tries, and Retry.TryTimeout that of each. A time-out is not retried unless Retry.On
//     has it, and ejects no server.
//   - A short response, of at most 64 KiB by its Content-Length, that breaks off is a failure before the response if the request may be retried.
//   - What a client causes (it disconnects, its body is too large, slow or
//     malformed) does not count as a failure of the server.
//   - A server that fails health checks (health.go) or real requests
//     (breaker.go) gets no requests until it recovers, and backups get them
//     while no other server is fit. Health checks that pass end an ejection for
//     failed connections at once. If no backup is either, requests go to all
//     servers but backups: health checks may be wrong, and a failing server is
//     better than none.
//   - While every server has as many requests in flight as Config.MaxConnections
//     allows, requests wait in one line (waiting.go), in order, as Config.Waiting
//     says; beyond it they are refused with 503. A retry does not wait.
package proxy
