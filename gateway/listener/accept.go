package listener

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"time"

	"github.com/headgate/headgate/internal/seldom"
)

// acceptor accepts the connections that may stay.
type acceptor struct {
	net.Listener
	peers    *peers
	capacity *capacity
	reserve  *Reserve
	stall    time.Duration
	log      *slog.Logger
	full     seldom.Line
	closed   <-chan struct{} // the server is being shut down
}

// errReserved is the fate of a connection whose descriptor is another listener's, see Reserve.
var errReserved = fmt.Errorf("a reserved descriptor was taken: %w", syscall.EMFILE)

// minPause is how long accepting pauses at least when the system is out of something.
const minPause = 5 * time.Millisecond

// accept waits for the next connection. An error is final.
func (a *acceptor) accept() (*socket, error) {
	var pause time.Duration
	for {
		c, err := a.Listener.Accept()
		if err == nil && !a.reserve.whole() {
			refuse(c)
			err = errReserved
		}
		if err != nil {
			if !passes(err) {
				return nil, err
			}
			pause = min(max(2*pause, minPause), time.Second)
			if outOfDescriptors(err) && a.capacity.makeRoom() > 0 {
				pause = minPause // they are being closed
				a.full.Log(context.Background(), a.log, slog.LevelWarn, "idle connections are closed, since there are no descriptors left", "error", err)
			} else {
				a.log.Warn("cannot accept connections for the moment", "error", err, "pause", pause)
			}
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
			refuse(c)
			continue
		}
		if !a.capacity.admit() {
			release()
			a.full.Log(context.Background(), a.log, slog.LevelWarn, "a connection was refused: there are too many, and none is idle", "peer", c.RemoteAddr(), "max_connections", a.capacity.max)
			refuse(c)
			continue
		}
		return &socket{Conn: c, stall: a.stall, release: func() {
			release()
			a.capacity.release()
		}}, nil
	}
}

// refuse closes a connection so that nothing is left of it, not even TIME_WAIT.
func refuse(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.Close()
}

// outOfDescriptors reports whether the process, or the system, has no descriptors left.
func outOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
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
