package http1client

import (
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/http1"
)

// upload sends a request's body on a goroutine of its own, since the server may answer before it has come to its end.
type upload struct {
	x        *exchange
	done     chan struct{} // closed when it has ended
	err      error         // why it failed; read after done
	lastSent atomic.Bool   // all of the body has been read, and is being written
	allowed  chan bool     // true: 100 (Continue) has come; false: it is not wanted any more
}

func (x *exchange) startUpload() {
	u := &upload{x: x, done: make(chan struct{}), allowed: make(chan bool, 1)}
	x.upload = u
	if x.conn.writeTimed { // from here on reads tell when it takes too long
		_ = x.conn.nc.SetWriteDeadline(time.Time{})
		x.conn.writeTimed = false
	}
	go u.run()
}

// permit says whether the body may be sent. Only the first word counts.
func (u *upload) permit(allowed bool) {
	select {
	case u.allowed <- allowed:
	default:
	}
}

// uploadBuffer has room in front of a chunk for its size, and behind it for its end and the body's.
type uploadBuffer struct {
	b [sizeRoom + uploadSize + endRoom]byte
}

const (
	uploadSize = 32 << 10
	sizeRoom   = len("8000\r\n")
	endRoom    = len("\r\n0\r\n\r\n")
)

var uploadBuffers = sync.Pool{New: func() any { return new(uploadBuffer) }}

func (u *upload) run() {
	defer close(u.done)
	defer closeBody(u.x.req)
	if expects(u.x.req) && !u.awaitContinue() {
		u.err = errUnwanted
		return
	}
	buf := uploadBuffers.Get().(*uploadBuffer)
	defer uploadBuffers.Put(buf)
	for more := true; more && u.err == nil; {
		more = u.piece(buf)
	}
}

// piece sends a piece of the body, and reports whether there is more.
func (u *upload) piece(buf *uploadBuffer) (more bool) {
	x := u.x
	space := buf.b[sizeRoom : sizeRoom+uploadSize]
	if x.left > 0 {
		space = space[:min(x.left, uploadSize)]
	}
	x.setDue(time.Time{}) // it is the client's turn
	n, err := readSome(x.req.Body, space)
	x.setDue(x.caller.Deadline())
	if x.left > 0 {
		x.left -= int64(n)
		if x.left == 0 {
			err = io.EOF
		} else if err == io.EOF {
			err = errShortBody
		}
	}
	if err != nil && err != io.EOF {
		u.err = err
		x.interrupt(err)
		return false
	}
	u.lastSent.Store(err == io.EOF)
	if _, werr := x.conn.nc.Write(u.frame(buf, n, err == io.EOF)); werr != nil {
		u.err = werr
	}
	return err == nil
}

// frame returns n bytes of the body as they are sent.
func (u *upload) frame(buf *uploadBuffer, n int, last bool) []byte {
	if u.x.left >= 0 {
		return buf.b[sizeRoom : sizeRoom+n]
	}
	start, end := sizeRoom, sizeRoom+n
	if n > 0 {
		var size [sizeRoom]byte
		line := append(strconv.AppendInt(size[:0], int64(n), 16), "\r\n"...)
		start -= copy(buf.b[sizeRoom-len(line):], line)
		end += copy(buf.b[end:], http1.ChunkEnd)
	}
	if !last {
		return buf.b[start:end]
	}
	return http1.AppendLastChunk(buf.b[start:end], u.x.req.Trailer)
}

// kernelWait is how long the end of an exchange waits for the last piece of the request's body, which the server has answered to, to be
// reported as written.
const kernelWait = 50 * time.Millisecond

// complete reports whether all of the body has been sent.
func (u *upload) complete() bool {
	if u.lastSent.Load() {
		timer := time.NewTimer(kernelWait)
		defer timer.Stop()
		select {
		case <-u.done:
		case <-timer.C:
			return false
		}
	}
	select {
	case <-u.done:
		return u.err == nil
	default:
		return false
	}
}
