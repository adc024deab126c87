package listener

import (
	"runtime"
	"slices"
	"sync"

	"golang.org/x/net/http2"
)

// What is to be written collects in http2Conn.out, under the connection's mutex. The goroutine that has put something
// there and finds no other one writing writes all of it: what is added meanwhile, by others, goes with its next
// write. So many small answers leave together, and none is handed from goroutine to goroutine.

const (
	frameHeader = 9
	// maxFrame is the largest frame that either side sends, RFC 9113 section 4.2.
	maxFrame = 16 << 10
	// mostOut is how much may wait to be written before answers wait.
	mostOut = 64 << 10
	// tlsRecord is how much of out makes one record. A frame that ends with it spares another record of a few bytes.
	tlsRecord = 16 << 10
)

var largeBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, mostOut)
	return &b
}}

// extend makes room for n more bytes in out, and returns it.
func (c *http2Conn) extend(n int) []byte {
	if c.out == nil {
		c.out = getBuffer()
	}
	if out := *c.out; len(out)+n > cap(out) && cap(out) < mostOut {
		large := largeBuffers.Get().(*[]byte)
		*large = append((*large)[:0], out...)
		putBuffer(c.out)
		c.out = large
	}
	return slices.Grow(*c.out, n)
}

// putOut gives up a buffer of out.
func putOut(b *[]byte) {
	if cap(*b) == mostOut {
		*b = (*b)[:0]
		largeBuffers.Put(b)
		return
	}
	putBuffer(b)
}

// dropOut forgets what is to be written.
func (c *http2Conn) dropOut() {
	if c.out != nil {
		putOut(c.out)
		c.out = nil
	}
}

// room is how much data a frame in out may have, so that it neither becomes too much, nor spills into another record of TLS.
func (c *http2Conn) room() int {
	used := 0
	if c.out != nil {
		used = len(*c.out)
	}
	left := mostOut - used
	if rest := tlsRecord - used%tlsRecord; rest > 1<<10 {
		left = min(left, rest)
	}
	return min(left, maxFrame) - frameHeader
}

// appendFrame appends a frame. It must not be longer than maxFrame.
func (c *http2Conn) appendFrame(kind http2.FrameType, flags http2.Flags, stream uint32, payload []byte) {
	c.appendFrame2(kind, flags, stream, nil, payload)
}

// appendFrame2 appends a frame of two parts.
func (c *http2Conn) appendFrame2(kind http2.FrameType, flags http2.Flags, stream uint32, a, b []byte) {
	if c.over {
		return
	}
	n := len(a) + len(b)
	out := c.extend(frameHeader + n)
	out = append(out, byte(n>>16), byte(n>>8), byte(n), byte(kind), byte(flags),
		byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
	*c.out = append(append(out, a...), b...)
}

// appendSection appends a header section, in as many frames as it takes.
func (c *http2Conn) appendSection(stream uint32, section []byte, ends bool) {
	var first []byte
	if !c.tableSized {
		c.tableSized = true
		first = []byte{noTable}
	}
	kind, flags := http2.FrameHeaders, http2.Flags(0)
	if ends {
		flags = http2.FlagHeadersEndStream
	}
	for {
		n := min(len(section), maxFrame-len(first))
		if n == len(section) {
			flags |= http2.FlagHeadersEndHeaders
		}
		c.appendFrame2(kind, flags, stream, first, section[:n])
		if section = section[n:]; flags.Has(http2.FlagHeadersEndHeaders) {
			return
		}
		kind, flags, first = http2.FrameContinuation, 0, nil
	}
}

func (c *http2Conn) appendReset(stream uint32, code http2.ErrCode) {
	c.appendFrame(http2.FrameRSTStream, 0, stream, []byte{byte(code >> 24), byte(code >> 16), byte(code >> 8), byte(code)})
}

func (c *http2Conn) appendWindowUpdate(stream uint32, n int) {
	c.appendFrame(http2.FrameWindowUpdate, 0, stream, []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

func (c *http2Conn) appendGoAway(last uint32, code http2.ErrCode, reason string) {
	c.appendFrame2(http2.FrameGoAway, 0, 0, []byte{
		byte(last >> 24), byte(last >> 16), byte(last >> 8), byte(last),
		byte(code >> 24), byte(code >> 16), byte(code >> 8), byte(code),
	}, []byte(reason))
}

// flush writes what is in out, unless another goroutine is doing so. It reports whether it did, and has released the lock
// for that. c.mu is held.
func (c *http2Conn) flush() bool {
	if c.writing || c.out == nil {
		return false
	}
	c.writing = true
	if c.serving > 1 { // other handlers may be about to answer: one write is for all of them
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
	}
	c.write(2)
	return true
}

// flushElsewhere writes on a worker's goroutine. c.mu is held.
func (c *http2Conn) flushElsewhere() {
	c.writing = true
	c.server.workers.run((*http2Writer)(c))
}

// http2Writer is a connection as a worker's task: to write.
type http2Writer http2Conn

func (w *http2Writer) work() {
	c := (*http2Conn)(w)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write(1 << 30)
}

// write writes until there is nothing left, or so many times: then another goroutine goes on, since this one has a stream of its
// own to serve. c.mu is held, c.writing set.
func (c *http2Conn) write(times int) {
	for c.out != nil {
		if times--; times < 0 {
			c.flushElsewhere()
			return
		}
		out := c.out
		c.out = nil
		c.nextSender()
		c.mu.Unlock()
		_, err := c.Conn.Write(*out)
		putOut(out)
		c.mu.Lock()
		if err != nil {
			c.broken(err)
		}
	}
	c.writing = false
}

// broken ends the streams of a connection to which nothing can be written. c.mu is held, and released meanwhile.
func (c *http2Conn) broken(err error) {
	if c.over {
		c.dropOut()
		return
	}
	streams := c.fail(err)
	c.mu.Unlock()
	c.socket.Close() // which the goroutine that reads notices
	for _, x := range streams {
		x.ctx.end()
	}
	c.mu.Lock()
}

// Streams with data to send wait in a queue for room in out, and for the connection's window. Each sends one frame, and
// queues again, so that all get on alike.

// enqueue puts a stream into the queue, at its front where it had its turn already.
func (c *http2Conn) enqueue(x *http2Stream, first bool) {
	x.queued = true
	if first {
		c.queue = slices.Insert(c.queue, 0, x)
		return
	}
	c.queue = append(c.queue, x)
}

// unqueue takes a stream out of the queue.
func (c *http2Conn) unqueue(x *http2Stream) {
	if x.queued {
		x.queued = false
		c.queue = slices.DeleteFunc(c.queue, func(y *http2Stream) bool { return y == x })
	}
}

// nextSender makes it the first stream's turn, if it can send.
func (c *http2Conn) nextSender() {
	if len(c.queue) == 0 || c.window <= 0 || c.room() <= 0 {
		return
	}
	x := c.queue[0]
	c.queue[0] = nil
	c.queue = c.queue[1:]
	x.queued, x.turn = false, true
	x.sendable.raise()
}
