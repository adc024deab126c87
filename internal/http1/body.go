package http1

import (
	"errors"
	"io"
	"net/http"
)

// Source is where a body's bytes come from: the listener's connection, whose reads are timed, or a [Reader].
type Source interface {
	// Take reads some bytes, as io.Reader does.
	Take(p []byte) (int, error)
	// TakeLine reads a line of at most so many bytes with its end, which is a line feed. It is valid until the next read.
	// A longer line is ErrLineTooLong.
	TakeLine(most int) ([]byte, error)
	// HasLine reports whether a whole line has arrived.
	HasLine() bool
}

// ErrLineTooLong is a Source's word that a line is longer than the caller allows.
var ErrLineTooLong = errors.New("http1: a line is too long")

// Body reads one body out of a Source by its framing. The zero value is an empty body.
type Body struct {
	framing Framing
	left    int64 // of a body with a length
	closed  bool  // the connection has ended, and the body with it
	chunks  chunks
}

// NewBody returns a body of this framing.
func NewBody(f Framing) Body { return Body{framing: f, left: max(int64(f), 0)} }

// Whole reports whether all has been read.
func (b *Body) Whole() bool {
	switch b.framing {
	case Chunked:
		return b.chunks.state == atEnd
	case UntilClose:
		return b.closed
	}
	return b.left == 0
}

// Left returns how many bytes are left of a body with a length; 0 of another one, where it is not known.
func (b *Body) Left() int64 { return b.left }

// Trailer returns the trailer fields of a chunked body that has been read to its end.
func (b *Body) Trailer() http.Header { return b.chunks.fields }

// Read reads some of the body. Its last bytes come with io.EOF. A malformed body ends in an *Error, one that breaks
// off in io.ErrUnexpectedEOF.
func (b *Body) Read(src Source, p []byte) (int, error) {
	if b.Whole() {
		return 0, io.EOF
	}
	n, err := b.readData(src, p)
	switch {
	case err == nil && b.Whole():
		err = io.EOF
	case err == io.EOF && b.framing == UntilClose:
		b.closed = true
	case err == io.EOF && !b.Whole():
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (b *Body) readData(src Source, p []byte) (int, error) {
	switch b.framing {
	case Chunked:
		return b.readChunk(src, p)
	case UntilClose:
		return src.Take(p)
	}
	n, err := src.Take(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func (b *Body) readChunk(src Source, p []byte) (int, error) {
	for b.chunks.state != inData {
		if b.chunks.state == atEnd {
			return 0, nil
		}
		if err := b.nextLine(src); err != nil {
			return 0, err
		}
	}
	n, err := src.Take(p[:min(int64(len(p)), b.chunks.left)])
	b.chunks.took(n)
	// What has come already tells whether this was all, and whether it is sound.
	for err == nil && b.chunks.state != inData && b.chunks.state != atEnd && src.HasLine() {
		err = b.nextLine(src)
	}
	return n, err
}

// nextLine reads a line of the chunked framing.
func (b *Body) nextLine(src Source) error {
	line, err := src.TakeLine(b.chunks.most())
	if errors.Is(err, ErrLineTooLong) {
		return b.chunks.tooLong()
	}
	if err != nil {
		return err
	}
	if offence := b.chunks.line(line); offence != nil {
		return offence
	}
	return nil
}
