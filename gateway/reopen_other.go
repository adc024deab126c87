//go:build !unix

package main

import "os"

// reopenSignals are none: there is no SIGUSR1. A file that was renamed is found with the next line.
var reopenSignals []os.Signal
