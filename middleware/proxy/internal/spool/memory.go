package spool

import "sync"

const (
	smallChunk = 4 << 10
	largeChunk = 32 << 10
)

// Memory is what the bodies of a gateway may take of its memory, together. It
// is safe for concurrent use.
type Memory struct {
	budget
	small, large sync.Pool
}

// NewMemory returns a Memory of so many bytes.
func NewMemory(limit int64) *Memory {
	m := &Memory{
		small: sync.Pool{New: func() any { return &chunk{data: make([]byte, smallChunk)} }},
		large: sync.Pool{New: func() any { return &chunk{data: make([]byte, largeChunk)} }},
	}
	m.SetLimit(limit)
	return m
}

// chunk is a piece of memory of which [r:w] is still to be read, and [w:most]
// still to be written.
type chunk struct {
	data       []byte
	r, w, most int
	counted    bool // in the Memory's budget
}

func (c *chunk) unread() []byte { return c.data[c.r:c.w] }
func (c *chunk) room() []byte   { return c.data[c.w:c.most] }

// allocate returns a chunk for at least one and at most the wanted number of
// bytes, or nil if the budget is used up and must not be exceeded.
func (m *Memory) allocate(want int64, beyond bool) *chunk {
	if want > smallChunk && m.take(largeChunk) {
		return reset(m.large.Get().(*chunk), want, true)
	}
	counted := m.take(smallChunk)
	if !counted && !beyond {
		return nil
	}
	return reset(m.small.Get().(*chunk), want, counted)
}

func reset(c *chunk, want int64, counted bool) *chunk {
	c.r, c.w, c.counted = 0, 0, counted
	c.most = int(min(want, int64(len(c.data))))
	return c
}

// Reserve counts memory that a body holds in a buffer of its caller, or returns false
// where the limit does not allow for it. Release gives it back.
func (m *Memory) Reserve(bytes int64) bool { return m.take(bytes) }

// Release gives back what was reserved.
func (m *Memory) Release(bytes int64) { m.give(bytes) }

// free gives a chunk back.
func (m *Memory) free(c *chunk) {
	if c.counted {
		m.give(int64(len(c.data)))
	}
	if len(c.data) == smallChunk {
		m.small.Put(c)
	} else {
		m.large.Put(c)
	}
}
