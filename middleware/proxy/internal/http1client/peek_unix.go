//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package http1client

import "syscall"

// readable reports whether a read of the socket would return at once: with bytes, the end, or an error.
func readable(socket syscall.RawConn) bool {
	var b [1]byte
	quiet := false
	err := socket.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = err == syscall.EAGAIN || err == syscall.EINTR
		return true
	})
	return err != nil || !quiet
}
