// Package http1 is HTTP/1's message syntax (RFC 9112), read strictly, for both ends of the gateway: the listener
// reads requests with it and writes responses, the client of app servers writes requests and reads responses.
//
// In the order in which a message meets them:
//
//	scan.go      finds the end of a head, however it arrives
//	fields.go    header lines
//	request.go   the request line and what a request's header means
//	response.go  the status line and what a response's header means
//	framing.go   how long the body is
//	chunks.go    the chunked coding
//	body.go      a body's data out of any of the framings
//	reader.go    responses from a connection
//	write.go     heads and chunks on their way out
//	check.go     the fields of a request over another version of HTTP
//	lexis.go     characters
//	error.go     why a message is refused
//
// # What is promised
//
// A message is read in one way or refused. Whatever two parties might read differently is refused: a bare line feed
// or carriage return, a folded line, a second Content-Length, Transfer-Encoding beside Content-Length, a misspelt
// framing field. What is accepted, net/http reads alike; property tests and fuzz targets hold the two against each other.
//
// All sizes are bounded: the head in bytes and lines, interim responses in bytes, a chunk's size line, chunk framing
// in proportion to data, the trailer. What is written cannot become two fields or two messages, whatever the header holds.
//
// # When things fail
//
// A malformed message is an *[Error]. A message that breaks off is io.ErrUnexpectedEOF. Other errors are the connection's.
// Behind either nothing on the connection can be taken for another message.
package http1
