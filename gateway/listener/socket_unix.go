//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package listener

import (
	"io"
	"net"
	"sync"
	"syscall"
)

// attentive reads from a socket and knows whether what it brought was there at once.
type attentive struct {
	mu   sync.Mutex
	raw  syscall.RawConn       // nil: not a socket of the system's
	step func(fd uintptr) bool // next; made with raw by the first read, since each would be allocated

	p      []byte
	n      int
	err    error
	waited bool
}

// read reads what is there, or waits for it.
func (a *attentive) read(c net.Conn, p []byte) (n int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.step == nil {
		a.step = a.next
		if s, ok := c.(syscall.Conn); ok {
			a.raw, _ = s.SyscallConn()
		}
	}
	if a.raw == nil || len(p) == 0 {
		a.waited = true
		return c.Read(p)
	}
	a.p, a.n, a.err, a.waited = p, 0, nil, false
	err = a.raw.Read(a.step)
	a.p = nil
	if err == nil {
		err = a.err
	}
	return a.n, err
}

// next is called with the socket, at first and when it may have something to read. True ends it.
func (a *attentive) next(fd uintptr) bool {
	n, err := syscall.Read(int(fd), a.p)
	for err == syscall.EINTR {
		n, err = syscall.Read(int(fd), a.p)
	}
	if err == syscall.EAGAIN {
		a.waited = true
		return false
	}
	a.n = max(n, 0)
	if n == 0 && err == nil {
		err = io.EOF
	}
	a.err = err
	return true
}
