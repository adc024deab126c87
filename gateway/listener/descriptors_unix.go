//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package listener

import "syscall"

// Descriptors returns how many descriptors the process may have, which Go has raised as far as it may, and whether that is known.
func Descriptors() (limit int, known bool) {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil || uint64(r.Cur) > 1<<30 {
		return 0, false
	}
	return int(r.Cur), true
}
