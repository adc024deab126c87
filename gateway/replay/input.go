package replay

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Log is one access log, plain or compressed with gzip or zstd.
type Log struct {
	// Name is what the report calls it.
	Name string
	// Open returns its bytes, and how many there will be: 0 where that is not known.
	Open func() (r io.ReadCloser, size int64, err error)
}

// File is the log in a file; "-" is standard input.
func File(name string) Log {
	if name == "-" {
		return Log{Name: "stdin", Open: func() (io.ReadCloser, int64, error) { return io.NopCloser(os.Stdin), 0, nil }}
	}
	return Log{Name: name, Open: func() (io.ReadCloser, int64, error) {
		f, err := os.Open(name)
		if err != nil {
			return nil, 0, err
		}
		info, err := f.Stat()
		if err != nil || !info.Mode().IsRegular() {
			if err == nil && info.IsDir() {
				err = fmt.Errorf("%s is a directory; name the log files in it", name)
			}
			return f, 0, err
		}
		return f, info.Size(), nil
	}}
}

const (
	// maxLine is the longest line that is read. Longer ones are bad lines.
	maxLine = 64 << 10
	// maxWindow is how far back a zstd stream may refer, as `zstd --long` makes them by default.
	maxWindow = 128 << 20
)

// Compressions.
const (
	plainText = "plain"
	gzipped   = "gzip"
	zstandard = "zstd"
)

// input is an opened log.
type input struct {
	*bufio.Reader
	compression string
	close       func()
}

// open opens a log and what it is packed in, found out from its first bytes
// rather than its name. read counts the bytes as they lie in the file.
func (l Log) open(read *atomic.Int64) (*input, int64, error) {
	raw, size, err := l.Open()
	if err != nil {
		if raw != nil {
			raw.Close()
		}
		return nil, 0, err
	}
	in := &input{compression: plainText, close: func() { raw.Close() }}
	packed := bufio.NewReaderSize(counting{raw, read}, 256<<10)
	magic, _ := packed.Peek(4) // what is wrong with it, reading will tell
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(packed)
		if err != nil {
			raw.Close()
			return nil, 0, fmt.Errorf("%s: %w", l.Name, err)
		}
		in.compression, in.Reader = gzipped, bufio.NewReaderSize(z, 256<<10)
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			raw.Close()
			return nil, 0, fmt.Errorf("%s: %w", l.Name, err)
		}
		in.compression, in.Reader = zstandard, bufio.NewReaderSize(z, 256<<10)
		in.close = func() { z.Close(); raw.Close() }
	default:
		in.Reader = packed
	}
	return in, size, nil
}

// errLong says that a line is longer than maxLine. What is returned with it is
// its beginning.
var errLong = fmt.Errorf("longer than %d KiB", maxLine>>10)

// line returns the next line without its line break. It is valid until the next call.
func (in *input) line() ([]byte, error) {
	line, err := in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		return nil, errLong
	case errors.Is(err, io.EOF) && len(line) > 0:
	case err != nil:
		return nil, err
	}
	line = bytes.TrimRight(line, "\r\n")
	if len(line) > maxLine {
		return nil, errLong
	}
	return line, nil
}

// beginning returns what the format can be found out from, without consuming it.
func (in *input) beginning() []byte {
	b, err := in.Peek(maxLine)
	if err == nil { // the last line is cut off
		if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
			b = b[:i]
		}
	}
	return b
}

// counting counts the bytes that are read.
type counting struct {
	io.Reader
	n *atomic.Int64
}

func (c counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}
