package listener

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// socket is an accepted connection. Whatever is spoken over it, a write that
// the client does not take for a while ends in a timeout, and its
// address counts until it is closed.
type socket struct {
	net.Conn
	stall   time.Duration // negative: no limit
	release func()
	once    sync.Once

	reader attentive

	mu      sync.Mutex
	writeBy time.Time // what net/http, or who has hijacked the connection, has set
	stallBy time.Time // ours
}

// Read reads, and waits for at least one byte.
func (s *socket) Read(p []byte) (int, error) { return s.reader.read(s.Conn, p) }

// Write writes within the stall limit, which begins anew when the client has
// taken some: a large write may take its time. Beyond it the connection is closed, for
// net/http's HTTP/2 does not end one just because nothing can be written.
//
// The deadline is moved on when a quarter of it has passed, so that most
// writes need not set it; it may pass when nothing is written, to no effect.
func (s *socket) Write(p []byte) (n int, err error) {
	for {
		s.allowTime()
		m, err := s.Conn.Write(p[n:])
		n += m
		if err == nil || !s.keepReading(m > 0, err) {
			return n, err
		}
	}
}

// writeBoth writes a and b behind it, in one system call where the connection
// allows it.
func (s *socket) writeBoth(a, b []byte) error {
	buffers := net.Buffers{a, b}
	for {
		s.allowTime()
		m, err := buffers.WriteTo(s.Conn) // which takes what is written out
		if err == nil || !s.keepReading(m > 0, err) {
			return err
		}
	}
}

// allowTime moves the deadline on, if much of it has passed.
func (s *socket) allowTime() {
	if s.stall <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Until(s.stallBy) < s.stall/4*3 {
		s.stallBy = time.Now().Add(s.stall)
		_ = s.Conn.SetWriteDeadline(earlier(s.writeBy, s.stallBy)) // a closed connection will tell the write
	}
}

// keepReading reports whether a write that has failed is to go on: the limit has
// passed, and the client has taken some. If it has taken none, the connection is closed.
func (s *socket) keepReading(taken bool, err error) bool {
	if s.stall <= 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !s.stalled() {
		return false
	}
	if !taken {
		s.Close()
	}
	return taken
}

// stalled reports whether it was our deadline that has ended a write.
func (s *socket) stalled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writeBy.IsZero() || s.stallBy.Before(s.writeBy)
}

// SetWriteDeadline sets a deadline beside the stall limit.
func (s *socket) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.IsZero() && s.writeBy.IsZero() {
		return nil
	}
	s.writeBy = t
	return s.Conn.SetWriteDeadline(earlier(s.writeBy, s.stallBy))
}

// SetDeadline sets both deadlines.
func (s *socket) SetDeadline(t time.Time) error {
	if err := s.SetReadDeadline(t); err != nil {
		return err
	}
	return s.SetWriteDeadline(t)
}

// CloseWrite sends the end of what we write.
func (s *socket) CloseWrite() error {
	if w, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// How much more is read from a client that is sending while it is answered for the last time, and how long the
// connection stays when that was all.
const (
	lingerBytes = 256 << 20
	lingerPause = 500 * time.Millisecond
)

// linger ends our side and reads on until the client ends its own, so that the client gets to read its answer: were
// the connection closed at once, what the client still sends would be met with a reset, which takes the answer
// away from it (RFC 9112 section 9.6). It lasts for at most limit, and a sixth of that without a byte.
func (s *socket) linger(limit time.Duration) {
	if s.CloseWrite() != nil {
		return
	}
	buf := getBuffer()
	defer putBuffer(buf)
	scratch := (*buf)[:cap(*buf)]
	end := time.Now().Add(limit)
	for left := lingerBytes; left > 0; {
		_ = s.SetReadDeadline(earlier(end, time.Now().Add(limit/6))) // a closed connection will tell the read
		n, err := s.Conn.Read(scratch)
		if err != nil {
			return
		}
		left -= n
	}
	time.Sleep(min(lingerPause, time.Until(end))) // the client is held up, and looks for an answer
}

// breakOff closes the connection so that the client sees an error, and no
// proper end.
func (s *socket) breakOff() {
	if c, ok := s.Conn.(interface{ SetLinger(int) error }); ok {
		_ = c.SetLinger(0)
	}
	s.Close()
}

// Close closes the connection. More than once is the same as once.
func (s *socket) Close() error {
	err := s.Conn.Close()
	s.uncount()
	return err
}

// uncount gives the connection's places back, once.
func (s *socket) uncount() { s.once.Do(s.release) }
