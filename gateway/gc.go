package main

import "os"

// ballastSize is how much garbage gathers, at least, before the collector runs.
const ballastSize = 32 << 20

// newBallast returns memory that is never touched, to be held for as long as
// the gateway runs. The system allots no pages to it, but the garbage collector
// counts it. By default the collector runs when the heap has doubled: with the
// few MiB that most gateways use, dozens of times a second under load, which
// costs a fifth of a small request's CPU. Where the operator has set GOGC
// or GOMEMLIMIT, those alone decide, and there is no ballast.
//
// A higher GOGC would do as much for a small heap, but would let a large one, with
// a large cache, grow to several times its size.
func newBallast() []byte {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	ballast := make([]byte, ballastSize)
	release(ballast)
	return ballast
}
