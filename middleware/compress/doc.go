// Package compress compresses responses with Brotli, Zstandard or gzip, as Echo middleware.
//
// # How a response passes
//
// [Middleware] puts a [Writer] before the client's. It chooses a coding by the request's Accept-Encoding (negotiate.go), and
// takes the marks of its own entity tags from the request's conditions (etag.go). When the response's head is written, the
// [Rule] says by status and fields whether it is to be compressed (eligible.go). Then what the handler writes passes an
// encoder of a pool (encoders.go) on its way to the client, and is flushed when the handler flushes (writer.go).
//
// A cache that has a response whole asks the Writer for the coding ([Writer.Wants]) and sends a copy that it has made with
// [Encoders.Encode] ([Writer.SendEncoded]), or the response as it is ([Writer.SendIdentity]).
//
// # What is promised
//
//   - A coding is sent to a client that accepts it, and to no other (RFC 9110 section 12.5.3). A response that would be
//     compressed for another client says Vary: Accept-Encoding.
//   - A strong entity tag is another one for each coding: "abc" becomes "abc-gzip", and "abc" again in the conditions of later
//     requests. A response that is not compressed, and whose own tag ends like that, has it end in -identity.
//   - Ranges, and what is marked no-transform, has a digest, or is encoded already, is passed on as it is. Nothing is ever decoded.
//   - What may hold secrets is not compressed unless [Compression.Private] says so: its length would tell of them (BREACH).
//   - Encoders take [NewEncoders] bytes at most. Where they are used up, responses are passed on as they are.
//   - HEAD has the fields of GET. Where the length of a response is not known, that is the GET of at least [Compression.Min] bytes.
package compress
