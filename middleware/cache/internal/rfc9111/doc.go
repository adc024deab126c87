// Package rfc9111 is the part of HTTP caching that is arithmetic and grammar:
// what RFC 9111 (and 9110, 9213, 5861 where it refers to them) makes of a
// request, a response and a time. Its functions have no state, do no I/O and
// read no clock: the time is an argument.
//
// The files follow a response's life:
//
//	cachecontrol.go, targeted.go, date.go   the grammar of the fields
//	storable.go, freshness.go, vary.go      may a shared cache store it, for how long, for which requests
//	reuse.go                                how old is it, and may it answer this request
//	validate.go, notmodified.go, range.go   conditions, 304 updates and byte ranges
package rfc9111
