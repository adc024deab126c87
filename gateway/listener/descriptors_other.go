//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package listener

// Descriptors returns how many descriptors the process may have, and whether that is known.
func Descriptors() (limit int, known bool) { return 0, false }
