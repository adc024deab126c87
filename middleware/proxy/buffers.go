package proxy

import "sync"

// copyBuffer is how much of a body is moved at a time.
const copyBuffer = 32 << 10

// bufferPool provides buffers for bodies. It pools pointers to arrays, since
// Put would allocate for a slice.
type bufferPool struct{ pool sync.Pool }

func newBufferPool() *bufferPool {
	return &bufferPool{sync.Pool{New: func() any { return new([copyBuffer]byte) }}}
}

func (p *bufferPool) Get() []byte { return p.pool.Get().(*[copyBuffer]byte)[:] }

func (p *bufferPool) Put(b []byte) { p.pool.Put((*[copyBuffer]byte)(b)) }
