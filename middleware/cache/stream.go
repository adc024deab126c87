package cache

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
	// window is how far the origin may be ahead of the slowest client once a
	// response is no longer kept.
	window = 256 << 10
	// stallLimit is how long a client may keep others from their bytes.
	stallLimit = 10 * time.Second
)

// stream is the body of one response from the origin on its way to one or
// more clients. The fetch writes it; every client, the one that caused the
// fetch included, reads it through a reader of its own.
//
// While it is kept, everything stays in memory, readers may join at any time
// and the fetch never waits for them. It ceases to be kept when it is not to
// be stored, outgrows the limit, or the budget is used up: then only a window
// stays, and the fetch goes at the pace of the slowest reader. A reader
// that stands still for stallLimit while others wait is cut off.
type stream struct {
	budget *budget
	limit  int64

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change that somebody waits for
	waited  bool

	chunks  [][]byte // from offset base on
	base    int64
	size    int64 // written so far
	length  int64 // declared; -1 if unknown
	flushes int   // how often the origin asked that what is there be sent on
	kept    bool
	taken   int64 // of the budget
	done    bool
	err     error // why it ended early
	trailer http.Header
	readers map[*reader]struct{}
	closed  bool // nobody reads and nothing is kept: writes fail
}

var (
	errAborted   = errors.New("cache: the response ended early")
	errNoReaders = errors.New("cache: nobody wants the response any more")
	errStalled   = errors.New("cache: the client stood still while others waited")
)

func newStream(b *budget, limit, length int64, kept bool) *stream {
	return &stream{
		budget: b, limit: limit, length: length, kept: kept,
		changed: make(chan struct{}), readers: make(map[*reader]struct{}),
	}
}

// notify wakes everybody who waits. It is called with the lock held.
func (s *stream) notify() {
	if s.waited {
		s.waited = false
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

// write appends p. It blocks only while the stream is not kept.
func (s *stream) write(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		n := min(len(p), chunkSize)
		if err := s.writePiece(ctx, p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (s *stream) writePiece(ctx context.Context, p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept && s.size+int64(len(p)) > s.limit {
		s.unkeepLocked()
	}
	for !s.kept {
		s.dropLocked()
		if s.closed || len(s.readers) == 0 {
			s.closed = true
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
func (s *stream) waitLocked(ctx context.Context) error {
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
// everything. A single reader may be as slow as it likes: it harms nobody.
func (s *stream) cutSlowestLocked() {
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

func (s *stream) appendLocked(p []byte) {
	for len(p) > 0 {
		if len(s.chunks) == 0 || len(s.chunks[len(s.chunks)-1]) == cap(s.chunks[len(s.chunks)-1]) {
			n := s.nextChunk(len(p))
			if s.kept && !s.budget.take(int64(n)) {
				s.unkeepLocked()
			} else if s.kept {
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
func (s *stream) nextChunk(need int) int {
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
func (s *stream) unkeepLocked() {
	if s.kept {
		s.kept = false
		s.budget.give(s.taken)
		s.taken = 0
	}
}

func (s *stream) isKept() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}

// dropLocked forgets the chunks that all readers have had.
func (s *stream) dropLocked() {
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

// markFlush asks readers to send what is there.
func (s *stream) markFlush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushes++
	s.notify()
}

// finish ends the stream: whole if err is nil.
func (s *stream) finish(err error, trailer http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return
	}
	if err == nil && s.length >= 0 && s.size != s.length {
		err = errAborted
	}
	s.done, s.err, s.trailer = true, err, trailer
	s.releaseLocked()
	s.notify()
}

// releaseLocked gives the budget back once the memory may be: when the stream
// has ended and its readers, of which some may be slow, have had it. From
// there on it is the local tier's, or garbage.
func (s *stream) releaseLocked() {
	if s.done && len(s.readers) == 0 {
		s.budget.give(s.taken)
		s.taken = 0
	}
}

// whole gives the body of a stream that is about to end well, if all of it was
// kept. Small ones come in one piece, so that a hit is one write.
func (s *stream) whole() (body, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done || !s.kept || (s.length >= 0 && s.size != s.length) {
		return body{}, false
	}
	b := body{size: s.size}
	exact := len(s.chunks) == 1 && len(s.chunks[0]) == cap(s.chunks[0])
	if s.size > 0 && s.size <= 2*chunkSize && !exact {
		b.chunks = [][]byte{slices.Concat(s.chunks...)}
	} else if s.size > 0 {
		b.chunks = slices.Clone(s.chunks)
	}
	return b, true
}

// reader is one client's place in a stream.
type reader struct {
	s       *stream
	at      int64
	flushes int
	cut     bool
}

// join adds a reader from the beginning; nil if the beginning is gone.
func (s *stream) join() *reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.base > 0 {
		return nil
	}
	r := &reader{s: s}
	s.readers[r] = struct{}{}
	return r
}

// leave takes a reader out.
func (r *reader) leave() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	delete(r.s.readers, r)
	r.s.releaseLocked()
	r.s.notify()
}

// next gives the bytes from the reader's place on, waiting for some. flush says
// that there are none yet and that the origin wants those before sent on. At
// the end, err says whether the body was whole (nil) or not.
func (r *reader) next(ctx context.Context) (p []byte, flush, end bool, err error) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if r.cut {
			return nil, false, true, errStalled
		}
		if p := s.fromLocked(r.at); len(p) > 0 {
			r.at += int64(len(p))
			return p, false, false, nil
		}
		if s.done {
			return nil, false, true, s.err
		}
		if r.flushes != s.flushes {
			r.flushes = s.flushes
			return nil, true, false, nil
		}
		changed := s.changed
		s.waited = true
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if err := ctx.Err(); err != nil {
			return nil, false, true, err
		}
	}
}

// progress is told after the bytes that next gave were written: the fetch may
// be waiting for room.
func (r *reader) progress() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if !r.s.kept {
		r.s.dropLocked()
		r.s.notify()
	}
}

func (s *stream) fromLocked(at int64) []byte {
	offset := at - s.base
	for _, c := range s.chunks {
		if offset < int64(len(c)) {
			return c[offset:]
		}
		offset -= int64(len(c))
	}
	return nil
}
