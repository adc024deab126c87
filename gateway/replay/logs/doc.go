// Package logs reads the access logs of web servers and proxies, Headgate's own among them.
//
// # How a line becomes a record
//
//	Log -> NewReader: unpack, find the format -> Line -> Parse -> Record
//
// [NewReader] opens a log and looks at its first bytes: gzip, zstd, or else plain text. If the
// caller names no [Format], the first 50 lines decide which one it is. [Reader.Line] then returns the
// lines one by one, and [Reader.Parse] turns each into a [Record].
//
// The formats are one table, in format.go: a line there says the format's name, the functions
// that read its lines, and its place in the search for a log's format. Each
// parser is in a file of its own.
//
// Record.At is the time at which the request arrived. nginx and Caddy log the time at which the response was
// complete; the parser subtracts the request's duration where the log has it.
//
// # What it promises
//
//   - Memory is bounded, whatever a log holds: a line by 64 KiB, a zstd window by 128 MiB, and the
//     strings that records share by number and length.
//   - What is shown of a line, in an error or by [Excerpt], is quoted and at most 80 bytes of it: a client's
//     bytes never reach the operator's terminal as they are.
//   - A Record's address is unmapped and has no zone. Its time is between 1970 and 2199, its duration between
//     nothing and a month, and its status between 0 and 999.
//
// # When things fail
//
// A line that cannot be parsed, or is too long, is an error of that line alone: the caller goes on with the next.
// A log that cannot be opened, whose format cannot be found out, or that breaks off inside its
// compression is an error of the log. An empty log is no error; its format stays [Auto].
package logs
