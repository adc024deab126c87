// Package listener is the gateway's public listener: everything between a
// socket and an [http.Handler]. It speaks HTTP/1 (package http1 has the
// syntax) and HTTP/2 (on golang.org/x/net's framer and its HPACK decoder) itself.
//
// The files, in the order in which a connection and its requests meet them:
//
//	options.go       what a Server can be told, and the defaults
//	server.go        the Server: Serve, Shutdown, Close
//	accept.go        the accept loop; it pauses when the system has no descriptors left
//	peers.go         how many connections an address may have
//	capacity.go      how many all clients may have together, and giveup.go which idle ones make room
//	reserve.go       descriptors that the admin listener always has; descriptors_unix.go how many there are
//	socket.go        a connection whose writes must make progress
//	handshake.go     TLS handshakes, bounded in time and number
//	certificate.go   the certificate, read again when its files change
//	conns.go         all connections, for Shutdown
//	http1conn.go     one HTTP/1 connection: await, readHead, handle, finish, over and over
//	reading.go       its buffer
//	deadline.go      its read deadlines
//	request.go       one request with its context and its response
//	requestcontext.go  the context, of either protocol
//	requestbody.go   the request's body
//	bodyrate.go      the minimum rate of a body
//	watch.go         notices that the client has disconnected while the handler works
//	responsehead.go  the response's status line, header and trailer
//	trailer.go       and what it has in its trailer
//	response.go      the http.ResponseWriter
//	refusal.go       what is answered to requests that reach no handler
//	http2conn.go     one HTTP/2 connection: its beginning, its end
//	http2read.go     its buffer and its read deadlines
//	http2frames.go   what each frame asks for
//	http2budget.go   how much work without an answer a client may ask for
//	http2head.go     a header section becomes a request
//	http2stream.go   one request and its answer, on a worker's goroutine
//	workers.go       these goroutines
//	http2body.go     the request's body, and the windows for what clients send
//	http2response.go the http.ResponseWriter
//	http2fields.go   its header in HPACK
//	http2write.go    what all streams of a connection write, together; whose turn it is
//	grpc.go          which requests are gRPC's
//	signal.go        how a stream's goroutine waits
//	buffers.go       buffers that requests share
//
// # Why not net/http for HTTP/1
//
// For two reasons. Request smuggling needs two parties that disagree about
// where a request ends, and net/http is lenient in places: it lets
// Transfer-Encoding win over Content-Length, joins folded lines, takes a bare LF for a
// line's end, ignores Transfer-Encoding in HTTP/1.0, and after a malformed chunk it may read
// on as if a new request began. None of that is visible to a handler. And it
// spends on each request what few need: a goroutine that waits for the
// client to disconnect, a copy of the response's header, six timers. A cached response or a
// 429 cost more time in net/http than in the rest of the gateway.
//
// # Why not net/http for HTTP/2
//
// A client could make it work without end for nothing: 138,000 requests that were cancelled at once, five million empty
// CONTINUATION frames, SETTINGS and PINGs, windows of zero that hold app servers' connections. None of that is visible
// to a handler, nor can it be counted from outside. And a small answer went over three goroutines and two writes.
// Here a client has a budget (http2budget.go) for what is of no use, a cancelled request counts as one of its streams until
// its handler has returned, and a small answer is one write, in which those of other streams have room.
//
// Handlers see the requests that net/http would give them: property tests and a fuzz
// target compare requests with http.ReadRequest, and a table of handlers compares
// responses with http.Server. There are five differences:
//
//   - A request that could be read in two ways is refused with 400, and no byte
//     behind the offence is read as another request.
//   - Once the response has begun, the handler can read no more of the request's
//     body, unless it enables full duplex. net/http waits for the first 2 KiB of the response.
//   - The Content-Type of a response is not guessed.
//   - The client is watched only once the handler asks the request's context for its Done channel.
//   - A request over HTTP/2 that HTTP/1 would refuse is refused: it may go on over HTTP/1, and apps fold names.
//
// # When things fail
//
// A refused request is answered with RFC 9457 problem details, the connection
// is closed, and Options.Refused is called. A body that turns out to be malformed
// or too slow ends in a *RequestError, also by way of [Refusal]. Clients that are slow in the handshake, the
// header, the body, or in taking the answer are cut off; a client of a response with pauses
// (server-sent events) or of an upgraded connection is not. A handler's
// panic cuts the response off, so that the client cannot take a part for the whole. A
// certificate that cannot be loaded anew leaves the last good one in use. When
// descriptors run out, connections on which nothing is under way are closed, accepting pauses and goes on.
package listener
