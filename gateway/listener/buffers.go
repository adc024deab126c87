package listener

import "sync"

const bufferSize = 4 << 10

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, bufferSize)
	return &b
}}

// getBuffer returns an empty buffer.
func getBuffer() *[]byte { return buffers.Get().(*[]byte) }

// putBuffer gives a buffer back. One that has grown is left to the collector.
func putBuffer(b *[]byte) {
	if b == nil || cap(*b) > 4*bufferSize {
		return
	}
	*b = (*b)[:0]
	buffers.Put(b)
}
