// Package http1client is the gateway's HTTP/1.1 client for app servers, on package http1's strict syntax.
//
// The files, in the order in which a request meets them:
//
//	client.go    Do: the steps below, one after the other
//	request.go   the request's head, and a short body behind it
//	pool.go      get a connection: an unused one, whose time is not over
//	look.go      a last look at it (socket_*.go, records.go)
//	dial.go      or a new one, TLS, ALPN
//	conn.go      write the request on it, read what comes
//	upload.go    the rest of the request's body, while a response may come (expect.go: Expect)
//	response.go  the response (upgrade.go: 101)
//	body.go      its body
//	exchange.go  what spans these steps: deadlines, the watch of the request's context, the end
//
// # What is promised
//
//   - A connection is used again only if nothing can be left on it (RFC 9112 section 9.2): request and response are whole, no byte stands
//     behind the response, neither then nor when the connection is taken for the next request; with TLS, no part of a record either. What a
//     server sends beyond a message never becomes the response to another request, except in the moment between that look and
//     the request.
//   - A request is sent once. Only one of which not a byte could be written goes to a second connection, a fresh one. Whether a request that got
//     no response may be sent again is the caller's to decide; [Error] has the facts.
//   - A response is read strictly or refused, and everything is bounded: heads, interim responses, chunk framing, trailers.
//   - Do and the response's body run on the caller's goroutine. A body that may take time to send has a second one, so that the server may
//     answer early. An unused connection has none.
//   - Deadlines and the watch of the request's context are lazy: a server that answers within 10 ms costs neither.
//
// # Why not a library
//
// net/http's Transport pools, replays and waits on its own account. It hands bytes beyond a message to the next request; it sends a GET
// again over every idle connection that turns out dead, each time with a timeout anew; it holds Expect for a second; and with
// two goroutines for each connection, a request costs several switches of threads.
//
// valyala/fasthttp's HostClient, the fastest of the libraries, has neither cost. But it reads responses leniently (any text for the
// version, empty lines before the status line, bare line feeds), so that the gateway and an app server may disagree about where a response ends; it
// sends idempotent requests again by itself; and it has header types of its own, so that each header would be copied twice on its way between the
// client, the hooks of the gateway, which are net/http's, and the app server.
//
// # When things fail
//
// Before there is a response, the error is an *[Error]. Behind it is an *http1.Error for what is malformed, [ErrTimeout],
// the cause of the request's context, the error of the request's body, or the connection's. Within the response's body they come from Read.
// In either case the connection is closed.
package http1client
