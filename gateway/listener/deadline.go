package listener

import (
	"net"
	"sync"
	"time"
)

// readDeadline is the earlier of two deadlines for reading: the handler's and
// our own. The socket is told by the next read only, because telling it costs
// as much as a small read; one that is under way must know at once.
type readDeadline struct {
	conn net.Conn

	mu      sync.Mutex
	user    time.Time
	own     time.Time
	armed   time.Time // what the socket has been told
	reading bool
	aborted bool
}

// reset forgets both deadlines.
func (d *readDeadline) reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.user, d.own, d.aborted = time.Time{}, time.Time{}, false
}

// by sets our own deadline.
func (d *readDeadline) by(t time.Time) { d.about(t, 0) }

// within sets our own deadline to so long from now, and forgets the handler's.
// One that was set before, and leaves three quarters of that, is as good.
func (d *readDeadline) within(wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.user, d.aborted = time.Time{}, false
	d.own = d.armed
	if left := time.Until(d.armed); left < wait/4*3 || left > wait {
		d.own = time.Now().Add(wait)
	}
	_ = d.tellReader() // a closed connection will tell the read
}

// about sets our own deadline, unless it is that already, but for a slack.
func (d *readDeadline) about(t time.Time, slack time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off := t.Sub(d.own); d.own.IsZero() || off >= slack || off <= -slack {
		d.own = t
	}
	_ = d.tellReader() // a closed connection will tell the read
}

// wasOurs reports whether it was our deadline that has ended a read, and forgets it.
func (d *readDeadline) wasOurs() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	ours := !d.aborted && !d.own.IsZero() && (d.user.IsZero() || d.own.Before(d.user))
	d.own = time.Time{}
	return ours
}

// ours returns our own deadline.
func (d *readDeadline) ours() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.own
}

// setUser sets the handler's deadline.
func (d *readDeadline) setUser(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.user = t
	return d.tellReader()
}

// abort ends the read that is under way, and all that follow until reset.
func (d *readDeadline) abort() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.aborted = true
	_ = d.tell() // a closed connection will tell the read
}

// arm is called before a read, disarm after it.
func (d *readDeadline) arm() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reading = true
	_ = d.tell() // a closed connection will tell the read
}

// tellReader tells the socket if a read is under way.
func (d *readDeadline) tellReader() error {
	if d.reading {
		return d.tell()
	}
	return nil
}

func (d *readDeadline) disarm() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reading = false
}

// tell tells the socket, if it has not been told already.
func (d *readDeadline) tell() error {
	t := earlier(d.user, d.own)
	if d.aborted {
		t = longAgo
	}
	if t.Equal(d.armed) {
		return nil
	}
	d.armed = t
	return d.conn.SetReadDeadline(t)
}

// earlier returns the earlier of two deadlines, where zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// longAgo as a deadline ends whatever waits.
var longAgo = time.Unix(1, 0)
