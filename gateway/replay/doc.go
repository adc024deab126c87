// Package replay says what a policy would have done to the requests in access logs.
//
// # How a log passes through
//
//	log -> unpack -> lines -> records -> reorder -+
//	log -> unpack -> lines -> records -> reorder -+-> merge -> engine -> tally -> Report
//	                                                       \-> engine -> tally -> Diff
//
// Each log is read in a goroutine of its own. Package logs unpacks it and parses its lines. A server writes a line when the response
// is complete, often with the time at which the request arrived, so lines are out of order: a window
// of records is held back and sorted by time. All logs are merged by time.
//
// The engine is the gateway's pipeline: the normaliser and matcher of package
// policies, and the limits of package ratelimit with counters in memory and the
// log's time as their clock. Limits that count by the response are settled with
// the logged status, at the time at which the logged response was complete. The client's address is the one in the
// log, whatever the policy's trusted_proxies say. Owners of API keys, users and
// sessions are known from Headgate's access log alone.
//
// # What it promises
//
//   - Replaying Headgate's access log under the policy that wrote it gives the denials
//     that happened live, with one exception. The log has the time at which a request arrived, and the limits
//     decided a moment later: a request within that moment of being admitted may be denied, or the other way
//     round, and of two clients that share a counter and arrived at the same moment, the other one may be admitted.
//   - Memory is bounded, whatever a log holds: lines by 64 KiB, the reorder
//     window by records, counters, clients and cached responses by number. Where a bound makes
//     a figure inexact, the report says so.
//   - A record that is out of order beyond the window is counted at the time
//     that the replay has reached. The report says how many there were.
//
// # When things fail
//
// Bad lines are counted, and the report shows the first few. A log of which no line
// can be parsed, that has no known format, or that breaks off, is an error of [Run].
//
// The cache figures are an estimate, as a log does not have the origin's headers for
// caches. Each [Report] comes with notes on what its logs do not have.
package replay
