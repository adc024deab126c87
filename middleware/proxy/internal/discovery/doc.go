// Package discovery watches a host name: it asks DNS for the name's addresses in the background, at an interval, and reports every change.
// Requests wait for no lookup and cause none.
//
// # How a round passes
//
// A round (watch.go) asks for the addresses of one family, IPv4 or IPv6 (family.go), and merges the answer with what is known (addresses.go).
//
// # What is promised
//
//   - All addresses are of one family: where a name has both, the first that connects, IPv4 first for localhost and IPv6 first otherwise. It
//     is kept for as long as the name has addresses of it, unless [Watch.Recheck] finds that only the other one connects.
//   - There are at most [MaxAddresses] addresses.
//   - An address that is missing from two answers in a row is removed.
//   - An instance asks at its own times: the interval varies by a tenth in either direction.
//
// # When things fail
//
// SERVFAIL, a time-out, and an answer without addresses (NXDOMAIN among them) change nothing: the last good answer stays. Until there has been
// one, [Watch.Addresses] is empty, and the caller dials the name itself.
package discovery
