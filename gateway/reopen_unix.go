//go:build unix

package main

import (
	"os"
	"syscall"
)

// reopenSignals have the file of the access log opened anew, after a rotation has renamed it.
var reopenSignals = []os.Signal{syscall.SIGUSR1}
