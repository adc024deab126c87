package listener

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Reserve keeps descriptors back, so that a listener that must answer always (the admin listener: who asks whether the
// gateway lives would restart it) still accepts when the process has none left. It is safe for concurrent use.
type Reserve struct {
	size  int
	short atomic.Bool // some are in use by the other listener

	mu     sync.Mutex
	held   []*os.File
	closed bool
}

// NewReserve makes a reserve of so many descriptors, which Fill takes.
func NewReserve(size int) *Reserve { return &Reserve{size: size} }

// Fill takes what the reserve lacks. An error says that the process has no more.
func (r *Reserve) Fill() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.closed && len(r.held) < r.size {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return err
		}
		r.held = append(r.held, f)
	}
	r.short.Store(false)
	return nil
}

// whole reports whether none is in use by the other listener, or all could be replaced. While it is not, no client may have a descriptor. A nil
// Reserve is whole.
func (r *Reserve) whole() bool { return r == nil || !r.short.Load() || r.Fill() == nil }

// Listener returns a listener that gives up descriptors of the reserve where it could not accept without.
func (r *Reserve) Listener(l net.Listener) net.Listener { return &reservedListener{l, r} }

// Close gives up all of them.
func (r *Reserve) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for r.give() {
	}
}

// give gives up one descriptor, and reports whether there was one. r.mu is held.
func (r *Reserve) give() bool {
	last := len(r.held) - 1
	if last < 0 {
		return false
	}
	r.held[last].Close()
	r.held = r.held[:last]
	return true
}

// refillPause is how often it is tried to fill the reserve up again.
const refillPause = 50 * time.Millisecond

// lend gives up one descriptor, and has it replaced as soon as the process has one to spare.
func (r *Reserve) lend() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || !r.give() {
		return false
	}
	if !r.short.Swap(true) {
		time.AfterFunc(refillPause, r.refill)
	}
	return true
}

func (r *Reserve) refill() {
	if r.Fill() != nil {
		time.AfterFunc(refillPause, r.refill)
	}
}

type reservedListener struct {
	net.Listener
	reserve *Reserve
}

// Accept implements net.Listener. What is given up may be taken by another goroutine first: then the next one is.
func (l *reservedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err == nil || !outOfDescriptors(err) || !l.reserve.lend() {
			return c, err
		}
	}
}
