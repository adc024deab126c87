package spool

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// ErrClosed is what reading a closed body returns.
var ErrClosed = errors.New("spool: the body is closed")

// Options are a body's bounds.
type Options struct {
	Memory *Memory // what all bodies share
	Disk   *Disk   // nil: nothing goes to a file
	// InMemory is the most bytes of this body in memory. Zero: nothing is read
	// ahead.
	InMemory int64
	// Length is how many bytes the source has; negative if that is unknown.
	Length int64
	// WhenSlow reads ahead while the reader is slow, on a goroutine of its own.
	WhenSlow bool
	// Ended, if it is not nil, is called once, when the source has ended: with
	// io.EOF, or why it could not be read. It runs on the goroutine that reads
	// the source and may not call the body.
	Ended func(error)
	// Interrupt ends a read of the source that is under way. Close calls it when the
	// source is being read ahead. Nil: such a read is not ended, and Close waits for it.
	Interrupt func()
}

// A reader is slow if it has spent patience between two reads; each byte that it
// takes makes up for a part of that. A reader that takes more than this rate is
// never slow: reading ahead of it would cost more than it gains.
const (
	patience = 5 * time.Millisecond
	fastRate = 64 << 20 // bytes per second
)

// Body reads its source ahead of its reader. Read and Fill must not be called at
// the same time as each other; Close may be called at any time.
type Body struct {
	source    io.Reader
	length    int64
	whenSlow  bool
	ended     func(error)
	interrupt func()
	patience  time.Duration

	mu       sync.Mutex
	changed  sync.Cond // there is more to read, or ahead has ended
	contents contents
	got      int64 // bytes from the source
	err      error // how the source has ended, or could not be kept
	over     error // not nil: the body is closed, or its file can't be read back; nothing is kept any more
	reading  bool  // Read is under way
	ahead    bool  // the source is being read ahead
	caughtUp bool  // Read waits for what is being read ahead

	timer    *time.Timer // starts to read ahead
	credit   time.Duration
	returned time.Time // when Read has returned last
	took     int       // the bytes that it has returned then
}

// NewBody returns a body that reads the source. It does not close it.
func NewBody(source io.Reader, o Options) *Body {
	b := &Body{source: source, length: o.Length, whenSlow: o.WhenSlow && o.InMemory > 0, ended: o.Ended, interrupt: o.Interrupt}
	b.patience, b.credit = patience, patience
	b.contents = contents{memory: o.Memory, limit: o.InMemory, file: overflow{disk: o.Disk, off: o.Disk == nil}}
	b.changed.L = &b.mu
	return b
}

// Fill reads the source ahead until it has ended, or there is no room for more.
// It returns why the source could not be read to its end; Read will return the
// same, after the bytes that came before.
func (b *Body) Fill() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ahead || b.over != nil || b.err != nil {
		return b.failure()
	}
	b.ahead = true
	b.readAhead()
	return b.failure()
}

func (b *Body) failure() error {
	switch {
	case b.over != nil:
		return b.over
	case b.err == io.EOF:
		return nil
	}
	return b.err
}

// Read implements io.Reader. It returns what has been read ahead, and else reads
// the source itself.
func (b *Body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = true
	b.account()
	n, err := b.read(p)
	b.reading = false
	if err == nil && b.whenSlow && b.err == nil {
		b.took, b.returned = n, time.Now()
		b.watch()
	}
	return n, err
}

func (b *Body) read(p []byte) (int, error) {
	for {
		switch head := b.contents.head(); {
		case b.over != nil:
			return 0, b.over
		case head != nil:
			return b.contents.copyTo(p, head), b.lastError()
		case !b.contents.file.empty():
			return b.readFile(p)
		case b.ahead:
			b.caughtUp = true
			b.changed.Wait()
			b.caughtUp = false
		case b.err != nil:
			return 0, b.err
		default:
			return b.readSource(p)
		}
	}
}

// lastError returns io.EOF with the last bytes.
func (b *Body) lastError() error {
	if b.err == io.EOF && b.contents.empty() {
		return io.EOF
	}
	return nil
}

// readFile reads what lies in the file, without the mutex.
func (b *Body) readFile(p []byte) (int, error) {
	o := &b.contents.file
	where, f := o.next(len(p)), o.file
	b.mu.Unlock()
	n, err := f.ReadAt(p[:where.length], where.offset)
	b.mu.Lock()
	switch {
	case b.over != nil:
		return 0, b.over
	case n < where.length:
		b.end(fmt.Errorf("reading a body back from its file: %w", err))
		return 0, b.over
	}
	o.consumed(n)
	if o.empty() && !b.contents.spilling {
		o.release()
	}
	return n, b.lastError()
}

// readSource reads the source on the reader's goroutine, without the mutex.
func (b *Body) readSource(p []byte) (int, error) {
	b.mu.Unlock()
	n, err := b.source.Read(p)
	if err != nil && b.ended != nil {
		b.ended(err)
	}
	b.mu.Lock()
	b.got += int64(n)
	if b.over != nil {
		return 0, b.over
	}
	b.err = err
	return n, err
}

// readAhead reads the source into the contents until it has ended, there is no
// room, or the reader waits for it. The caller holds the mutex and has set ahead.
func (b *Body) readAhead() {
	for b.err == nil && b.over == nil {
		room := b.reserve()
		if room == nil {
			break
		}
		b.mu.Unlock()
		n, err := b.source.Read(room)
		if err != nil && b.ended != nil {
			b.ended(err)
		}
		b.mu.Lock()
		b.commit(n, err)
		if b.caughtUp {
			break
		}
	}
	b.ahead = false
	b.changed.Broadcast()
}

// reserve returns memory to read the source into, or nil. It gives the mutex up
// while it writes to the file.
func (b *Body) reserve() []byte {
	c := &b.contents
	last := c.tail()
	if last == nil || len(last.room()) == 0 {
		last = c.extend(b.want())
	}
	if last == nil {
		last = b.spill()
	}
	if last == nil {
		return nil
	}
	c.reserved = true
	return last.room()
}

// want is how many bytes may still come: at least one, since the source may tell its
// end only when it is asked for more.
func (b *Body) want() int64 {
	switch {
	case b.length >= 0:
		return max(b.length-b.got, 1)
	case b.got == 0:
		return smallChunk // most bodies are small
	}
	return largeChunk
}

// commit takes in what was read into the reserved chunk.
func (b *Body) commit(n int, err error) {
	c := &b.contents
	last := c.tail()
	last.w += n
	b.got += int64(n)
	c.reserved = false
	switch {
	case b.over != nil:
		c.release()
		return
	case len(last.unread()) == 0 && last == c.front0():
		c.dropHead()
	}
	b.err = err
	b.changed.Broadcast()
}

// spill makes room in memory: it moves a chunk to the file, and returns it empty,
// as the last one.
func (b *Body) spill() *chunk {
	c := &b.contents
	o := &c.file
	old := c.takeForFile()
	if old == nil {
		return nil
	}
	places, blocks, ok := o.grow(len(old.unread()))
	if !ok {
		c.untake(old)
		return nil
	}
	c.spilling = true
	b.mu.Unlock()
	f, err := o.disk.write(o.file, old.unread(), places)
	b.mu.Lock()
	c.spilling = false
	if b.over != nil || err != nil {
		b.notSpilled(old, f, blocks, err)
		return nil
	}
	o.file = f
	o.appended(places, blocks)
	old.r, old.w = 0, 0
	c.put(old)
	b.changed.Broadcast()
	return old
}

// notSpilled undoes a spill that failed, or whose body was closed meanwhile.
func (b *Body) notSpilled(old *chunk, f file, blocks []uint32, err error) {
	c := &b.contents
	if b.over != nil {
		if f != nil {
			f.Close()
		}
		c.free(old)
		return
	}
	c.file.disk.failed(err)
	c.file.off = true
	c.file.spare = append(c.file.spare, blocks...)
	c.file.file = f
	if c.file.empty() {
		c.file.release()
	}
	c.untake(old)
	b.changed.Broadcast()
}

// Ended reports whether the source has been read to its end, or can't be read any
// further.
func (b *Body) Ended() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err != nil
}

// Close frees everything that the body holds, and returns when nothing reads the
// source ahead any more. It may be called more than once.
func (b *Body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end(ErrClosed)
	if b.ahead && b.interrupt != nil {
		b.mu.Unlock()
		b.interrupt()
		b.mu.Lock()
	}
	for b.ahead {
		b.changed.Wait()
	}
	return nil
}

// end frees everything. The first reason is the one that Read returns.
func (b *Body) end(why error) {
	if b.over == nil {
		b.over = why
	}
	if b.timer != nil {
		b.timer.Stop()
	}
	b.contents.release()
	b.changed.Broadcast()
}
