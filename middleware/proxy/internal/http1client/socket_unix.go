//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package http1client

import (
	"io"
	"syscall"
)

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

// canJoin says that the look, the request and the wait for its response can be one.
const canJoin = true

// joined is a short request that is written within the first read of its response: the look at the connection (RFC 9112 section 9.2), the write and the
// wait follow one another on the socket, with a system call for each and none that fails but the look, which must.
type joined struct {
	out     []byte // what is to be written; nil: there is nothing
	p       []byte // where to read
	n       int    // that have been read
	written int
	err     error
	step    func(fd uintptr) bool // next; made once, since each would be allocated
	begun   bool                  // the socket has been looked at
	waiting bool                  // the request has been written
}

// read writes the request and reads the first bytes of the response. It is errDead, and nothing has been written, where something has come before.
func (j *joined) read(c *conn, p []byte) (int, error) {
	j.p, j.n, j.written, j.err, j.waiting = p, 0, 0, nil, false
	if j.step == nil {
		j.step = j.next
	}
	j.begun = false
	err := c.socket.Read(j.step)
	j.p = nil
	if !j.begun {
		return 0, err // a deadline had passed: perhaps not the request's, and the caller tries again
	}
	out := j.out
	j.out = nil
	if err == nil {
		err = j.err
	}
	if j.written > 0 {
		c.x.sent = true
	}
	if err == nil && j.written < len(out) { // the socket's buffer is full
		_, err = c.write(out[j.written:], c.x.due)
	}
	return j.n, err
}

// next is called with the socket, at first and when it may have something to read. True ends it.
func (j *joined) next(fd uintptr) bool {
	j.begun = true
	n, err := retried(syscall.Read, int(fd), j.p)
	if j.waiting {
		if err == syscall.EAGAIN {
			return false
		}
		if j.n = max(n, 0); n <= 0 && err == nil {
			err = io.EOF
		}
		j.err = err
		return true
	}
	if err != syscall.EAGAIN {
		j.err = errDead
		return true
	}
	n, err = retried(syscall.Write, int(fd), j.out)
	j.written = max(n, 0)
	switch {
	case err == syscall.EAGAIN || err == nil && n < len(j.out):
		return true
	case err != nil && j.written == 0:
		j.err = errDead
		return true
	case err != nil:
		j.err = err
		return true
	}
	j.waiting = true
	return false
}

// retried calls again what a signal has interrupted.
func retried(call func(int, []byte) (int, error), fd int, p []byte) (n int, err error) {
	for n, err = call(fd, p); err == syscall.EINTR; {
		n, err = call(fd, p)
	}
	return n, err
}
