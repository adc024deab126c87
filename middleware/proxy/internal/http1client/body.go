package http1client

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"

	"github.com/headgate/headgate/internal/http1"
)

// responseBody is the body of a response.
type responseBody exchange

// Read implements io.Reader.
func (b *responseBody) Read(p []byte) (int, error) {
	x := (*exchange)(b)
	if x.err != nil || len(p) == 0 {
		return 0, x.err
	}
	n, err := x.data.Read(x.conn.reader, p)
	if err != nil {
		x.err = err
		if err == io.EOF {
			x.takeTrailer()
		}
		x.end(err == io.EOF)
	}
	return n, err
}

// Ready reports whether the body is known to have something to read. It is for the beginning of the body.
func (b *responseBody) Ready() bool {
	if b.err != nil {
		return false
	}
	came := b.conn.reader.Buffered()
	if b.head.Body != http1.Chunked {
		return len(came) > 0
	}
	line := bytes.IndexByte(came, '\n')
	return line >= 0 && line+1 < len(came) && came[0] != '0' // a chunk's size, and some of the chunk
}

// takeTrailer gives the trailer to the response, as net/http does: those fields that were not announced too.
func (x *exchange) takeTrailer() {
	fields := x.data.Trailer()
	if len(fields) == 0 {
		return
	}
	if x.res.Trailer == nil {
		x.res.Trailer = make(http.Header, len(fields))
	}
	maps.Copy(x.res.Trailer, fields)
}

// Interrupt ends a Read that is under way on another goroutine, and all later ones. It does nothing after the body's end.
func (b *responseBody) Interrupt() {
	x := (*exchange)(b)
	x.ending.Lock()
	defer x.ending.Unlock()
	if !x.over {
		x.interrupt(errBodyInterrupted)
	}
}

var errBodyInterrupted = errors.New("the response's body is not wanted any more")

// Close implements io.Closer. The connection is closed unless the rest of the body has come already: waiting for more is not worth a connection.
// Close must not be called during a Read.
func (b *responseBody) Close() error {
	x := (*exchange)(b)
	if left := x.data.Left(); x.err == nil && left > 0 && left == int64(len(x.conn.reader.Buffered())) {
		_, _ = io.Copy(io.Discard, b)
	}
	if x.err == nil {
		x.err = http.ErrBodyReadAfterClose
		x.end(false)
	}
	return nil
}
