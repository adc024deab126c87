package http1

import (
	"bytes"
	"io"
)

// readBuffer is the size of a Reader's buffer, in bytes, as long as heads fit into it.
const readBuffer = 4 << 10

// Reader reads responses from a connection, one after the other. Deadlines are the caller's. Not safe for concurrent use.
type Reader struct {
	src    io.Reader
	limits Limits
	buf    []byte
	r, w   int // what has arrived is buf[r:w]
}

// NewReader returns a Reader. Limits must be positive.
func NewReader(src io.Reader, l Limits) *Reader {
	return &Reader{src: src, limits: l, buf: make([]byte, readBuffer)}
}

// ReadResponse reads into h the head of the final response to a request of this method. Interim responses go to interim, whose
// error ends the reading; nil drops them. They share one limit in bytes, so that a server cannot send them for ever.
// A connection that ends before the first byte is io.EOF.
func (r *Reader) ReadResponse(h *ResponseHead, method string, interim func(*ResponseHead) error) error {
	limits := r.limits
	for {
		n, err := r.readHead(h, method, limits)
		if err != nil || !h.Interim() {
			return err
		}
		if interim != nil {
			if err := interim(h); err != nil {
				return err
			}
		}
		if limits.Head -= n; limits.Head <= 0 {
			return tooLarge("the interim responses are too many")
		}
		*h = ResponseHead{}
	}
}

// readHead reads one head, and returns its length.
func (r *Reader) readHead(h *ResponseHead, method string, l Limits) (int, error) {
	scan := HeadScanner{FirstLine: responseVersion}
	for {
		n, offence := scan.Next(r.buf[r.r:r.w], l)
		if offence != nil {
			return 0, offence
		}
		if n > 0 {
			offence := h.Parse(r.buf[r.r:r.r+n], scan.Fields(), method)
			r.r += n
			r.shrink()
			if offence != nil {
				return 0, offence
			}
			return n, nil
		}
		begun := r.r < r.w
		if err := r.fill(); err != nil {
			if err == io.EOF && begun {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
	}
}

// Buffered returns what has arrived and has not been read. Behind a response to which nothing else may follow it is
// surplus, and the connection must not be used again. After 101 (Switching Protocols) it is the other protocol's. It is
// valid until the next read.
func (r *Reader) Buffered() []byte { return r.buf[r.r:r.w] }

// Take implements Source. Long reads go straight to the connection.
func (r *Reader) Take(p []byte) (int, error) {
	if r.r == r.w {
		if len(p) >= readBuffer {
			return r.read(p)
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf[r.r:r.w])
	r.r += n
	return n, nil
}

// TakeLine implements Source.
func (r *Reader) TakeLine(most int) ([]byte, error) {
	for looked := 0; ; {
		line, err := CutLine(r.buf[r.r:r.w], looked, most)
		if err != nil || line != nil {
			r.r += len(line)
			return line, err
		}
		looked = r.w - r.r
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

// HasLine implements Source.
func (r *Reader) HasLine() bool { return bytes.IndexByte(r.buf[r.r:r.w], '\n') >= 0 }

// CutLine returns the line with which seen begins, with its end, for a Source's TakeLine; nil where more must be read first. The first
// looked bytes are known to hold no line feed.
func CutLine(seen []byte, looked, most int) ([]byte, error) {
	i := bytes.IndexByte(seen[looked:], '\n')
	n := looked + i + 1
	switch {
	case i >= 0 && n <= most:
		return seen[:n], nil
	case i >= 0 || len(seen) >= most:
		return nil, ErrLineTooLong
	}
	return nil, nil
}

// fill reads more into the buffer. It makes room where there is none; the limits on heads and lines bound it.
func (r *Reader) fill() error {
	r.buf, r.r, r.w = MakeRoom(r.buf, r.r, r.w)
	n, err := r.read(r.buf[r.w:])
	r.w += n
	if n > 0 {
		return nil
	}
	return err
}

// read reads from the connection, until there is something.
func (r *Reader) read(p []byte) (int, error) {
	for range 100 {
		n, err := r.src.Read(p)
		if n > 0 {
			return n, nil // an error comes again with the next read
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// MakeRoom moves buf[r:w] to the buffer's front where it has no room behind w, or makes the buffer larger.
func MakeRoom(buf []byte, r, w int) (_ []byte, newR, newW int) {
	if r == w {
		return buf, 0, 0
	}
	if w < len(buf) {
		return buf, r, w
	}
	larger := buf
	if r == 0 {
		larger = make([]byte, 2*len(buf))
	}
	return larger, 0, copy(larger, buf[r:w])
}

// shrink gives up a buffer that was made larger for a head.
func (r *Reader) shrink() {
	r.buf, r.r, r.w = Shrink(r.buf, r.r, r.w, readBuffer)
}

// Shrink returns a buffer of the usual size with what is in buf[r:w], where it fits.
func Shrink(buf []byte, r, w, usual int) (_ []byte, newR, newW int) {
	if len(buf) <= usual || w-r > usual {
		return buf, r, w
	}
	smaller := make([]byte, usual)
	return smaller, 0, copy(smaller, buf[r:w])
}
