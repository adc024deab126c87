package compress

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/headgate/headgate/internal/httpx"
)

// Level is how much time an encoding is worth.
type Level uint8

const (
	// Fast is for responses that a client waits for.
	Fast Level = iota
	// Stored is for copies that a cache keeps.
	Stored
	// Best is for copies that a cache sends again and again: it may take a second for each MiB, and for Brotli some.
	Best
	levels
)

// encoder is what the libraries have in common.
type encoder interface {
	io.WriteCloser
	Reset(io.Writer)
	Flush() error
}

// Encoders are the encoders of a process. Those that are at work take a bounded number of bytes; idle ones are kept for
// the next responses, until the garbage collector takes them. It is safe for concurrent use.
type Encoders struct {
	limit int64
	used  atomic.Int64
	pools [httpx.Codings][levels]sync.Pool
}

// NewEncoders makes encoders that take maxBytes at most for the responses that are being written; 0: 64 MiB.
func NewEncoders(maxBytes int64) *Encoders {
	if maxBytes == 0 {
		maxBytes = 64 << 20
	}
	return &Encoders{limit: maxBytes}
}

// encoderBytes is what an encoder takes, as measured with bodies of 100 KB.
var encoderBytes = [httpx.Codings][levels]int64{
	httpx.Brotli: {1200 << 10, 2700 << 10, 16 << 20},
	httpx.Zstd:   {900 << 10, 5 << 20, 36 << 20},
	httpx.Gzip:   {900 << 10, 1100 << 10, 1500 << 10},
}

// InUse is how many bytes the encoders that are at work take.
func (e *Encoders) InUse() int64 { return e.used.Load() }

// borrow returns an encoder that writes to w, or nil where there is no room for one.
func (e *Encoders) borrow(c httpx.Coding, l Level, w io.Writer) encoder {
	n := encoderBytes[c][l]
	if used := e.used.Add(n); used > e.limit && used > n { // a single one may always work
		e.used.Add(-n)
		return nil
	}
	if enc, ok := e.pools[c][l].Get().(encoder); ok {
		enc.Reset(w)
		return enc
	}
	return newEncoder(c, l, w)
}

// giveBack takes an encoder back that writes no longer, whether its output is complete or not.
func (e *Encoders) giveBack(c httpx.Coding, l Level, enc encoder) {
	enc.Reset(io.Discard) // it must not hold a client's writer
	if l != Best {
		e.pools[c][l].Put(enc)
	}
	e.used.Add(-encoderBytes[c][l])
}

func newEncoder(c httpx.Coding, l Level, w io.Writer) encoder {
	switch c {
	case httpx.Brotli:
		return brotli.NewWriterOptions(w, brotli.WriterOptions{Quality: [levels]int{2, 5, 11}[l], LGWin: [levels]int{18, 18, 22}[l]})
	case httpx.Zstd:
		// A window of 8 MiB is what every client must have room for (RFC 9659).
		enc, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize([levels]int{128 << 10, 256 << 10, 1 << 20}[l]),
			zstd.WithEncoderLevel([levels]zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedBetterCompression, zstd.SpeedBestCompression}[l]))
		if err != nil {
			panic(err) // the options are constants
		}
		return enc
	case httpx.Gzip:
		enc, err := gzip.NewWriterLevel(w, [levels]int{1, 6, 9}[l])
		if err != nil {
			panic(err)
		}
		return enc
	}
	panic(fmt.Sprintf("compress: %v is not a coding to send", c))
}

// maxBest is the largest body that Best is for, in bytes: Brotli's best takes seconds for more.
const maxBest = 256 << 10

// IsBest reports whether a body of this size has a Best that is worth its time.
func IsBest(size int64) bool { return size <= maxBest }

// Encode encodes a body that is there as a whole, in chunks of 64 KiB. It returns nil where that is not shorter by a
// twentieth, and is not ok where the encoders are all at work.
func (e *Encoders) Encode(c httpx.Coding, l Level, body [][]byte) (encoded [][]byte, size int64, ok bool) {
	var out chunks
	enc := e.borrow(c, l, &out)
	if enc == nil {
		return nil, 0, false
	}
	defer e.giveBack(c, l, enc)
	before := int64(0)
	for _, chunk := range body {
		before += int64(len(chunk))
		_, _ = enc.Write(chunk) // to memory
	}
	_ = enc.Close()
	if out.size > before-before/20 {
		return nil, 0, true
	}
	return out.clipped(), out.size, true
}

// chunks is an io.Writer that keeps what is written.
type chunks struct {
	list [][]byte
	size int64
}

const chunkSize = 64 << 10

func (o *chunks) Write(p []byte) (int, error) {
	n := len(p)
	o.size += int64(n)
	for len(p) > 0 {
		last := len(o.list) - 1
		if last < 0 || len(o.list[last]) == cap(o.list[last]) {
			o.list = append(o.list, make([]byte, 0, chunkSize))
			last++
		}
		room := min(len(p), cap(o.list[last])-len(o.list[last]))
		o.list[last] = append(o.list[last], p[:room]...)
		p = p[room:]
	}
	return n, nil
}

// clipped returns the chunks with no room behind the last.
func (o *chunks) clipped() [][]byte {
	if last := len(o.list) - 1; last >= 0 {
		o.list[last] = append(make([]byte, 0, len(o.list[last])), o.list[last]...)
	}
	return o.list
}
