package main

import "os"

// ballastSize is how much garbage gathers, at least, before the collector runs.
const ballastSize = 32 << 20

// newBallast returns memory that is never touched, to be held for as long as
// the gateway runs. The system gives no pages for it; but the collector, which
// by default runs when the heap has doubled, counts it. Of the few MiB
// that most gateways use, that would be dozens of times a second under load, and a fifth of a
// small request's CPU. Who has set GOGC or GOMEMLIMIT knows better: nil.
//
// (A higher GOGC would do as much for a small heap, but let a large one, with a large
// cache, grow to several times its size.)
func newBallast() []byte {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	return make([]byte, ballastSize)
}
