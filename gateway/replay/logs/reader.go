package logs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// maxLine is the longest line that is parsed, in bytes. Longer ones are bad lines.
	maxLine = 64 << 10
	// maxWindow is how far back a zstd stream may refer, in bytes: as far as `zstd --long` does by default.
	maxWindow = 128 << 20
	// bufferSize is how much is read at once, in bytes, of a file and of what it unpacks to.
	bufferSize = 256 << 10
)

// Compressions.
const (
	plainText = "plain"
	gzipped   = "gzip"
	zstandard = "zstd"
)

// ErrTooLong is the error of a line of more than 64 KiB. Nothing of it is kept.
var ErrTooLong = fmt.Errorf("longer than %d KiB", maxLine>>10)

// Reader reads one log. It is for one goroutine at a time.
type Reader struct {
	lines       *bufio.Reader
	size        int64
	compression string
	format      Format
	parse       parser // nil for an empty log, whose format is Auto
	strings     interner
	close       func()
}

// NewReader opens a log, unpacks it, and finds out its format where f is [Auto] or "". It adds the bytes
// that it reads, as they lie in the file, to read. Close the Reader after use. The errors do not name the log.
func NewReader(l Log, f Format, read *atomic.Int64) (*Reader, error) {
	raw, size, err := l.Open()
	if err != nil {
		if raw != nil {
			raw.Close()
		}
		return nil, err
	}
	r := &Reader{size: size, format: f, close: func() { raw.Close() }}
	if err := r.unpack(countingReader{raw, read}); err != nil {
		r.Close()
		return nil, err
	}
	if f == Auto || f == "" {
		if r.format, err = detect(r.beginning()); err != nil {
			r.Close()
			return nil, err
		}
	}
	if r.parse = r.format.row().parse; r.parse == nil && r.format != Auto {
		r.Close()
		return nil, fmt.Errorf("there is no format %q", r.format)
	}
	return r, nil
}

// unpack finds out the compression from the log's first bytes rather than its name.
func (r *Reader) unpack(raw io.Reader) error {
	packed := bufio.NewReaderSize(raw, bufferSize)
	magic, _ := packed.Peek(4) // reading the lines will return the error
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(packed)
		if err != nil {
			return err
		}
		r.compression, r.lines = gzipped, bufio.NewReaderSize(z, bufferSize)
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return err
		}
		r.compression, r.lines = zstandard, bufio.NewReaderSize(z, bufferSize)
		closeFile := r.close
		r.close = func() { z.Close(); closeFile() }
	default:
		r.compression, r.lines = plainText, packed
	}
	return nil
}

// beginning returns the whole lines of the first 64 KiB without consuming them.
func (r *Reader) beginning() []byte {
	b, err := r.lines.Peek(maxLine)
	if err == nil { // the last line is cut off
		if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
			b = b[:i]
		}
	}
	return b
}

// Close closes the log.
func (r *Reader) Close() { r.close() }

// Size is the number of bytes of the file, 0 where it is not known.
func (r *Reader) Size() int64 { return r.size }

// Compression is plain, gzip or zstd.
func (r *Reader) Compression() string { return r.compression }

// Format is the log's format: the one that NewReader was given or found out; [Auto] if the log is empty.
func (r *Reader) Format() Format { return r.format }

// Line returns the next line without its line break; blank lines too. It is valid until the next call. After the last line
// the error is io.EOF. After [ErrTooLong] the next call returns the line that follows.
func (r *Reader) Line() ([]byte, error) {
	line, err := r.lines.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.lines.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		return nil, ErrTooLong
	case errors.Is(err, io.EOF) && len(line) > 0:
	case err != nil:
		return nil, err
	}
	line = bytes.TrimRight(line, "\r\n")
	if len(line) > maxLine {
		return nil, ErrTooLong
	}
	return line, nil
}

// Parse reads a line into a record, which it overwrites. The record does not refer to the line's bytes.
// After an error the record is not to be used.
func (r *Reader) Parse(line []byte, to *Record) error {
	*to = Record{Bytes: -1}
	if r.parse == nil {
		return errors.New("no known format of access logs")
	}
	return r.parse(line, to, &r.strings)
}

// countingReader counts the bytes that are read.
type countingReader struct {
	io.Reader
	n *atomic.Int64
}

func (c countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}
