package proxy

import (
	"io"
	"net/http"
	"sync"
)

// maxHeld is how long a response's body may be that is held back until it is whole.
const maxHeld = 64 << 10

var heldBuffers = sync.Pool{New: func() any { return new([maxHeld]byte) }}

// heldBody is a response's body that has been read before any of it is passed on: if it breaks off, the request can still be tried again,
// or be answered with 502.
type heldBody struct {
	buf   *[maxHeld]byte
	r, w  int
	probe [1]byte
}

// holds reports whether a response is held: a short one, of a request that may be tried again.
func (tx *transaction) holds(res *http.Response) bool {
	return tx.idempotent && tx.pool.cfg.Retries > 0 && tx.current.interim == 0 &&
		res.ContentLength > 0 && res.ContentLength <= maxHeld &&
		res.Body != http.NoBody && tx.in.Method != http.MethodHead && res.StatusCode != http.StatusSwitchingProtocols
}

// hold reads the body of a response to its end, and stands in for it then.
func (h *heldBody) hold(res *http.Response) error {
	h.buf = heldBuffers.Get().(*[maxHeld]byte)
	h.r, h.w = 0, 0
	length := int(res.ContentLength)
	var err error
	for err == nil && h.w < length {
		var n int
		n, err = res.Body.Read(h.buf[h.w:length])
		h.w += n
	}
	if err == nil {
		_, err = res.Body.Read(h.probe[:]) // HTTP/2 tells the end, and the trailer, apart from the last byte
	}
	res.Body.Close()
	if err == io.EOF && h.w == length {
		res.Body = h
		return nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	h.Close()
	return err
}

// rest is what has not been read.
func (h *heldBody) rest() []byte { return h.buf[h.r:h.w] }

// Read implements io.Reader.
func (h *heldBody) Read(p []byte) (int, error) {
	if h.buf == nil || h.r == h.w {
		return 0, io.EOF
	}
	n := copy(p, h.buf[h.r:h.w])
	h.r += n
	return n, nil
}

// Close implements io.Closer.
func (h *heldBody) Close() error {
	if h.buf != nil {
		heldBuffers.Put(h.buf)
		h.buf = nil
	}
	return nil
}
