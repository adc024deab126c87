package collapse

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	firstChunk = 4 << 10
	chunkSize  = 64 << 10
	// window is how many bytes the origin may be ahead of the slowest client
	// once a response is no longer kept.
	window = 256 << 10
	// stallLimit is how long a client may keep others from their bytes.
	stallLimit = 10 * time.Second
)

// Stream is the body of one response from the origin on its way to one or more
// clients. The fetch writes it; every client, the leader's included, reads it
// through a [Reader] of its own. It is safe for concurrent use.
//
// While it is kept, everything stays in memory, readers may join at any time
// and the fetch never waits for them. It ceases to be kept when it is not to
// be stored, outgrows the limit, or the budget is used up: then only a window
// stays, and the fetch goes at the pace of the slowest reader. A reader that
// stands still for stallLimit while others wait is cut off.
type Stream struct {
	budget *Budget
	limit  int64
	length int64 // declared, in bytes; -1 if unknown

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change that a reader or the fetch waits for
	waited  bool          // one of them waits for changed

	chunks  [][]byte // from offset base on
	base    int64
	size    int64 // written so far
	taken   int64 // of the budget
	flushes int   // how often the origin asked that what is there be sent on
	readers map[*Reader]struct{}
	mode    streamMode
	done    bool
	err     error // why it ended early
	trailer http.Header
}

// streamMode is what becomes of the bytes.
type streamMode uint8

const (
	keepAll    streamMode = iota // they stay until the end, to be stored
	passOn                       // they stay until all readers have had them
	unreadable                   // not kept, and no reader is left: writes fail
)

var (
	// ErrAborted: the response ended before its body was complete.
	ErrAborted   = errors.New("cache: the response ended early")
	errNoReaders = errors.New("cache: all clients have left, and the response is not stored")
)

// NewStream makes the stream of a body whose declared length is length bytes;
// -1: unknown. With kept it is kept for as long as it has at most limit bytes
// and the budget has room.
func NewStream(b *Budget, limit, length int64, kept bool) *Stream {
	s := &Stream{budget: b, limit: limit, length: length, changed: make(chan struct{}), readers: make(map[*Reader]struct{})}
	if !kept {
		s.mode = passOn
	}
	return s
}

// notify wakes the readers and the fetch that wait. It is called with the lock held.
func (s *Stream) notify() {
	if s.waited {
		s.waited = false
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

// Write appends p. It blocks only while the stream is not kept.
func (s *Stream) Write(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		n := min(len(p), chunkSize)
		if err := s.writePiece(ctx, p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (s *Stream) writePiece(ctx context.Context, p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mode == keepAll && s.size+int64(len(p)) > s.limit {
		s.unkeepLocked()
	}
	for s.mode != keepAll {
		s.dropLocked()
		if s.mode == unreadable || len(s.readers) == 0 {
			s.mode = unreadable
			return errNoReaders
		}
		if s.size-s.base < window {
			break
		}
		if err := s.waitLocked(ctx); err != nil {
			return err
		}
	}
	s.appendLocked(p)
	s.notify()
	return nil
}

// waitLocked waits for a reader to move, and cuts off those that hold up others.
func (s *Stream) waitLocked(ctx context.Context) error {
	changed := s.changed
	s.waited = true
	s.mu.Unlock()
	timer := time.NewTimer(stallLimit)
	defer timer.Stop()
	var err error
	stalled := false
	select {
	case <-changed:
	case <-timer.C:
		stalled = true
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	s.mu.Lock()
	if stalled {
		s.cutSlowestLocked()
	}
	return err
}

// cutSlowestLocked ends the readers that are a window behind while others have
// everything. A single reader may be as slow as it likes: it holds up no other.
func (s *Stream) cutSlowestLocked() {
	if len(s.readers) < 2 {
		return
	}
	ahead := false
	for r := range s.readers {
		ahead = ahead || r.at > s.base
	}
	for r := range s.readers {
		if ahead && r.at == s.base {
			r.cut = true
			delete(s.readers, r)
		}
	}
	s.notify()
}

func (s *Stream) appendLocked(p []byte) {
	for len(p) > 0 {
		if len(s.chunks) == 0 || len(s.chunks[len(s.chunks)-1]) == cap(s.chunks[len(s.chunks)-1]) {
			n := s.nextChunk(len(p))
			if s.mode == keepAll && !s.budget.Take(int64(n)) {
				s.unkeepLocked()
			} else if s.mode == keepAll {
				s.taken += int64(n)
			}
			s.chunks = append(s.chunks, make([]byte, 0, n))
		}
		last := &s.chunks[len(s.chunks)-1]
		n := min(len(p), cap(*last)-len(*last))
		*last = append(*last, p[:n]...)
		s.size += int64(n)
		p = p[n:]
	}
}

// nextChunk sizes a chunk: exactly what is left where the length is known and
// small, else growing.
func (s *Stream) nextChunk(need int) int {
	if left := s.length - s.size; s.length >= 0 && left > 0 && left <= chunkSize {
		return int(left)
	}
	n := firstChunk
	if s.size > 0 {
		n = int(min(max(s.size, firstChunk), chunkSize))
	}
	return min(max(n, need), chunkSize)
}

// unkeepLocked gives up storing the response; it goes on to its readers.
func (s *Stream) unkeepLocked() {
	if s.mode == keepAll {
		s.mode = passOn
		s.budget.Give(s.taken)
		s.taken = 0
	}
}

// Kept reports whether the whole body is still kept, to be stored.
func (s *Stream) Kept() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mode == keepAll
}

// dropLocked forgets the chunks that all readers have had.
func (s *Stream) dropLocked() {
	slowest := s.size
	for r := range s.readers {
		slowest = min(slowest, r.at)
	}
	n := 0
	for n < len(s.chunks) && s.base+int64(len(s.chunks[n])) <= slowest && len(s.chunks[n]) == cap(s.chunks[n]) {
		s.base += int64(len(s.chunks[n]))
		s.chunks[n] = nil
		n++
	}
	s.chunks = s.chunks[n:]
}

// Flush asks readers to send what is there.
func (s *Stream) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushes++
	s.notify()
}

// Finish ends the stream: complete if err is nil and its length is the declared
// one. The second and later calls do nothing.
func (s *Stream) Finish(err error, trailer http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return
	}
	if err == nil && s.length >= 0 && s.size != s.length {
		err = ErrAborted
	}
	s.done, s.err, s.trailer = true, err, trailer
	s.releaseLocked()
	s.notify()
}

// releaseLocked gives the budget back once the memory may be: when the stream
// has ended and its readers, of which some may be slow, have had it. From
// there on it is the local tier's, or garbage.
func (s *Stream) releaseLocked() {
	if s.done && len(s.readers) == 0 {
		s.budget.Give(s.taken)
		s.taken = 0
	}
}

// Complete gives the pieces and the size of a body that is about to end well; ok
// is false if not all of it was kept. Small bodies come in one piece, so that a
// hit is one write.
func (s *Stream) Complete() (chunks [][]byte, size int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done || s.mode != keepAll || (s.length >= 0 && s.size != s.length) {
		return nil, 0, false
	}
	exact := len(s.chunks) == 1 && len(s.chunks[0]) == cap(s.chunks[0])
	switch {
	case s.size == 0:
	case s.size <= 2*chunkSize && !exact:
		chunks = [][]byte{slices.Concat(s.chunks...)}
	default:
		chunks = slices.Clone(s.chunks)
	}
	return chunks, s.size, true
}

// Length is the declared length in bytes; -1 if unknown.
func (s *Stream) Length() int64 { return s.length }

// Trailer is the response's trailer section. It is valid once a reader has seen
// [Completed].
func (s *Stream) Trailer() http.Header { return s.trailer }

// Reader is one client's place in a stream.
type Reader struct {
	s       *Stream
	at      int64
	flushes int
	cut     bool // it held up others for too long
}

// Join adds a reader from the beginning; nil if the beginning is gone.
func (s *Stream) Join() *Reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mode == unreadable || s.base > 0 {
		return nil
	}
	r := &Reader{s: s}
	s.readers[r] = struct{}{}
	return r
}

// Leave takes a reader out. It may be called more than once.
func (r *Reader) Leave() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	delete(r.s.readers, r)
	r.s.releaseLocked()
	r.s.notify()
}

// Event is what a reader has come upon.
type Event uint8

const (
	Data      Event = iota // there are bytes
	FlushNow               // there are none yet, and the origin wants those before sent on
	Completed              // the body is complete
	BrokenOff              // the body ended early, or the client is cut off
)

// Next gives the bytes from the reader's place on, waiting for some until ctx
// ends. p is not empty with Data alone.
func (r *Reader) Next(ctx context.Context) (p []byte, event Event) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if r.cut {
			return nil, BrokenOff
		}
		if p := s.fromLocked(r.at); len(p) > 0 {
			r.at += int64(len(p))
			return p, Data
		}
		switch {
		case s.done && s.err != nil:
			return nil, BrokenOff
		case s.done:
			return nil, Completed
		case r.flushes != s.flushes:
			r.flushes = s.flushes
			return nil, FlushNow
		}
		changed := s.changed
		s.waited = true
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return nil, BrokenOff
		}
	}
}

// Progress is called after the bytes that Next gave were written: the fetch may
// be waiting for room.
func (r *Reader) Progress() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.s.mode != keepAll {
		r.s.dropLocked()
		r.s.notify()
	}
}

func (s *Stream) fromLocked(at int64) []byte {
	offset := at - s.base
	for _, c := range s.chunks {
		if offset < int64(len(c)) {
			return c[offset:]
		}
		offset -= int64(len(c))
	}
	return nil
}
