// Package replay says what a policy would have done to traffic that is known
// from access logs.
//
// # How a log passes through
//
//	log -> unpack -> lines -> records -> reorder -+
//	log -> unpack -> lines -> records -> reorder -+-> merge -> engine -> tally -> Report
//	                                                       \-> engine -> tally -> Diff
//
// Each log is read in a goroutine of its own: plain, gzip or zstd by its first bytes, in the
// [logs.Format] that its first lines are in. A server writes a line when the answer
// is complete, and some with the time at which the request came: a window
// of lines is held back to put them in order by that time; for nginx and Caddy,
// whose time is the answer's end, the request's duration is taken off where the log has it. All logs are
// merged by time.
//
// The engine is the gateway's own: normalisation and matcher of package
// policies, and the limits of package ratelimit with counters in memory, with the
// log's time as their clock. Limits that count by the answer are settled with
// the logged status when the logged answer was complete. The client's address is taken as the log
// has it, and trusted_proxies do not matter. Clients with an API key, users and
// sessions are known from our own access log alone.
//
// # What it promises
//
//   - Replaying our own access log of a live run under the same policy gives the denials
//     that happened live. The log's time is that of arrival, while limits
//     decide a moment later: a request that came that close to the moment at
//     which it would just be admitted may fall on the other side, and of two clients that share a
//     counter and came in the same moment the other one may get the last of it.
//   - Memory is bounded, whatever a log holds: lines by 64 KiB, the reorder
//     window by lines, counters, clients and cached answers by number. Where a bound makes
//     a figure inexact, the report says so.
//   - Bad lines are counted, and the first few shown. A log of which no line
//     can be read, or that breaks off, is an error.
//   - Lines that are out of order beyond the window are counted at the time
//     that has been reached, and the report says how many.
//
// The cache figures are an estimate: a log does not tell what the origin said about
// caching. See the notes that come with each [Report].
package replay
