package listener

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"time"

	"github.com/headgate/headgate/internal/http1"
)

// fill reads more into the buffer, or waits for the watch that is doing so. It
// makes room where there is none.
func (c *http1Conn) fill() error {
	if n, err, was := c.watch.await(); was {
		c.w += n
		if n > 0 {
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		// It may have been a deadline of the request before; ours is in force below.
	}
	c.makeRoom()
	yielded := c.eager.yields()
	if yielded {
		runtime.Gosched()
	}
	n, err := c.readSome(c.buf[c.w:])
	if yielded {
		c.eager.learn(!c.socket.reader.waited)
	}
	c.w += n
	if n > 0 {
		return nil
	}
	return err
}

// stopWatch ends a watch that goes on waiting for the client to leave, although
// the next request has begun.
func (c *http1Conn) stopWatch() {
	if !c.watch.inTheWay(c.r < c.w) {
		return
	}
	c.deadline.abort()
	n, _, _ := c.watch.await()
	c.w += n
	c.deadline.reset()
}

// makeRoom moves what is in the buffer to its front, or makes it larger; the limits on heads and lines bound it.
func (c *http1Conn) makeRoom() {
	c.buf, c.r, c.w = http1.MakeRoom(c.buf, c.r, c.w)
}

// shrink gives up a buffer that was made larger, and is not needed any more. It
// is called before the handler: after that the watch may be reading into it.
func (c *http1Conn) shrink() {
	c.buf, c.r, c.w = http1.Shrink(c.buf, c.r, c.w, readBuffer)
}

// readSome reads from the connection under the deadlines that are set.
func (c *http1Conn) readSome(p []byte) (int, error) {
	c.deadline.arm()
	n, err := c.Conn.Read(p)
	c.deadline.disarm()
	return n, err
}

// take reads a body's data: what is in the buffer, or else straight from the
// connection where that saves a copy.
func (c *http1Conn) take(p []byte, b *requestBody) (int, error) {
	if c.r == c.w {
		if len(p) >= readBuffer {
			return c.readInTime(p, b)
		}
		if err := c.fillInTime(b); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.buf[c.r:c.w])
	c.r += n
	return n, nil
}

// takeLine reads a line of a body's framing, of at most so many bytes, with
// its end. It is valid until the next read.
func (c *http1Conn) takeLine(most int, b *requestBody) ([]byte, error) {
	for looked := 0; ; {
		line, err := http1.CutLine(c.buf[c.r:c.w], looked, most)
		if err != nil || line != nil {
			c.r += len(line)
			return line, err
		}
		looked = c.w - c.r
		if err := c.fillInTime(b); err != nil {
			return nil, err
		}
	}
}

// hasLine reports whether a whole line has arrived.
func (c *http1Conn) hasLine() bool { return bytes.IndexByte(c.buf[c.r:c.w], '\n') >= 0 }

func (c *http1Conn) fillInTime(b *requestBody) error {
	c.makeRoom()
	n, err := c.readInTime(c.buf[c.w:], b)
	c.w += n
	if n > 0 {
		return nil
	}
	return err
}

// readInTime reads for as long as the body's bounds in time allow.
func (c *http1Conn) readInTime(p []byte, b *requestBody) (int, error) {
	if b.rate.off() {
		n, err := c.readSome(p)
		return n, unlessSome(n, err)
	}
	for {
		start := time.Now()
		c.deadline.about(start.Add(b.rate.patience()), b.rate.slack())
		n, err := c.readSome(p)
		b.rate.spend(time.Since(start), n)
		if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && c.deadline.wasOurs() {
			if b.rate.patience() > 0 {
				continue
			}
			return 0, tooSlow("body")
		}
		return n, unlessSome(n, err)
	}
}

// unlessSome drops an error that came with data: the next read has it too.
func unlessSome(n int, err error) error {
	if n > 0 {
		return nil
	}
	return err
}
