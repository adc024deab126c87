// Package wire is the gateway's public listener: all that lies between a
// socket and an [http.Handler]. It stands around net/http, which does the
// protocols themselves, and adds what net/http leaves to whoever faces the
// open Internet.
//
// A connection passes through it like this:
//
//	accept     at most so many per address; back off when the system has no descriptors left
//	socket     writes that make no progress end the connection
//	handshake  TLS, beside the accept loop, bounded in time and number; then
//	             h2        -> net/http as *tls.Conn
//	             http/1.1  -> http1Conn
//	http1Conn  follows the framing of HTTP/1 messages, on the bytes that net/http is about to read
//	handler    checks that net/http has understood the framing in the same way; guards HTTP/2 streams
//
// # Framing
//
// Request smuggling needs two parties that disagree about where a request
// ends. net/http is lenient in places: it lets Transfer-Encoding win over
// Content-Length, joins folded lines, takes a bare LF for a line's end, ignores
// Transfer-Encoding in HTTP/1.0, and after a malformed chunk it may read
// on as if a new request began. None of that is visible to a handler any more.
//
// So http1Conn runs a strict state machine of its own (the framer) over the
// stream, ahead of net/http. A request whose framing could be read in two ways
// is refused with 400, and not one byte behind the offence is ever passed
// on: net/http cannot find another request there, whatever it
// makes of the first. What does pass has one reading only. The framing that
// was found is compared with net/http's before the handler runs.
//
// # When things fail
//
// A refused request is answered with RFC 9457 problem details, the connection
// is closed, and Options.Refused is told. Clients that are slow in the handshake, the
// header, the body, or in taking the answer are cut off; those that are idle within
// an answer (server-sent events) or an upgraded connection are not. A
// certificate that cannot be loaded anew leaves the last good one in use. When
// descriptors run out, accepting pauses and goes on.
package wire
