//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package http1client

import "syscall"

// readable cannot tell on this system.
func readable(syscall.RawConn) bool { return false }

const canJoin = false

type joined struct{ out []byte }

func (j *joined) read(c *conn, p []byte) (int, error) { return c.nc.Read(p) }
