package listener

import (
	"errors"
	"log/slog"
	"net"
	"syscall"
	"time"
)

// acceptor accepts the connections that may stay.
type acceptor struct {
	net.Listener
	peers  *peers
	stall  time.Duration
	log    *slog.Logger
	closed <-chan struct{} // the server is being shut down
}

// accept waits for the next connection. An error is final.
func (a *acceptor) accept() (*socket, error) {
	var pause time.Duration
	for {
		c, err := a.Listener.Accept()
		if err != nil {
			if !passes(err) {
				return nil, err
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			a.log.Warn("cannot accept connections for the moment", "error", err, "pause", pause)
			select {
			case <-time.After(pause):
			case <-a.closed:
				return nil, net.ErrClosed
			}
			continue
		}
		pause = 0
		release, ok := a.peers.admit(c)
		if !ok {
			a.log.Debug("a connection was closed: its address has too many", "peer", c.RemoteAddr())
			if t, ok := c.(*net.TCPConn); ok {
				_ = t.SetLinger(0) // leave nothing behind, not even TIME_WAIT
			}
			c.Close()
			continue
		}
		return &socket{Conn: c, stall: a.stall, release: release}, nil
	}
}

// passes reports whether accepting may work again later: the system is out of
// something, or the client left while it was queueing.
func passes(err error) bool {
	for _, e := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR, syscall.EPERM, syscall.EPROTO,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
