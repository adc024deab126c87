// Package spool reads bodies ahead of the side that takes them, so that a slow
// client does not hold an app server's connection: a request's body before a
// server is chosen ([Body.Fill]), an answer's while the client is slow to take
// it ([Body.Read]).
//
// What is read ahead lies in memory up to a bound per body, within a [Memory]
// that all bodies of a gateway share; beyond it in a file of a [Disk], which is
// an upstream's and has a bound of its own. Where there is no room, nothing
// more is read ahead: the rest streams, at the reader's pace.
//
// # Memory
//
// The chunks of a body count in the Memory from their allocation to the moment
// that their bytes have been read, or the body is closed. Each body may hold one
// chunk of 4 KiB beyond the Memory's limit, so that it can move at all.
//
// # Files
//
// A body that needs one gets a file of its own, with mode 0600, whose name is
// removed before the first byte is written: it can be opened by no other
// program, and the kernel frees it however the gateway ends. A file is closed as
// soon as all that was in it has been read, or the body is closed.
package spool
