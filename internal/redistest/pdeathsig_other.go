//go:build !linux

package redistest

import "syscall"

// dieWithParent is for Linux alone. Elsewhere a server outlives a test binary that is
// killed.
func dieWithParent() *syscall.SysProcAttr { return nil }
