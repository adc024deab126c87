//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package http1client

import "syscall"

// readable cannot tell on this system.
func readable(syscall.RawConn) bool { return false }
