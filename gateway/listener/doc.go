// Package listener is the gateway's public listener: all that lies between a
// socket and an [http.Handler]. It speaks HTTP/1 itself, and leaves HTTP/2 to
// net/http.
//
// A connection passes through it like this:
//
//	accept     at most so many per address; back off when the system has no descriptors left
//	socket     writes that make no progress end the connection
//	handshake  TLS, beside the accept loop, bounded in time and number; then
//	             h2        -> handover -> net/http -> http2Handler
//	             http/1.1  -> http1Conn
//	http1Conn  await -> readHead (head) -> handle (exchange) -> finish, over and over
//	exchange   the request with its body, its context and its answer
//
// # Why not net/http for HTTP/1
//
// For two reasons. Request smuggling needs two parties that disagree about
// where a request ends, and net/http is lenient in places: it lets
// Transfer-Encoding win over Content-Length, joins folded lines, takes a bare LF for a
// line's end, ignores Transfer-Encoding in HTTP/1.0, and after a malformed chunk it may read
// on as if a new request began. None of that is visible to a handler. And it
// spends on each request what only some need: a goroutine that waits for the
// client to leave, a copy of the answer's header, six timers. An answer from the cache, or a
// 429, cost more there than in all of the gateway.
//
// What handlers see is net/http's, to the letter: property tests and a fuzz
// target hold requests against http.ReadRequest, and a table of handlers holds
// answers against http.Server. The differences are these. A request that could be read in two ways is
// refused with 400, and not one byte behind the offence is taken for
// another one. What is left of a request's body can't be read any more once the answer has begun,
// unless full duplex is enabled; net/http waits for the first 2 KiB. The type of an answer is not guessed. The client is watched only
// from when somebody asks the request's context for its Done channel.
//
// # When things fail
//
// A refused request is answered with RFC 9457 problem details, the connection
// is closed, and Options.Refused is told. A body that turns out to be malformed
// or too slow ends in a *RequestError, also by way of [Refusal]. Clients that are slow in the handshake, the
// header, the body, or in taking the answer are cut off; those that are idle within
// an answer (server-sent events) or an upgraded connection are not. A handler's
// panic cuts the answer off, so that half of one never looks whole. A
// certificate that cannot be loaded anew leaves the last good one in use. When
// descriptors run out, accepting pauses and goes on.
package listener
