package proxy

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// tunnel carries what client and server of an upgraded connection send. A side that has sent its last
// (FIN, or close_notify over TLS) still gets what the other one sends, until that has sent its last as well.
type tunnel struct {
	client *upgradedConn
	server io.ReadWriteCloser
	// silence is how long the direction that is left may be silent: its peer may be gone without a word.
	silence time.Duration

	halfClosed atomic.Bool // one direction has ended
}

// run carries both directions until both have ended, or one has failed.
func (t *tunnel) run() {
	t.client.begin()
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.carry(&t.client.client, t.client, closeWriteOf(t.server), t.server)
	}()
	t.carry(t.client, t.server, t.client.CloseWrite, t.client)
	<-done
	t.close()
}

// carry copies one direction. When its source has sent its last, the destination is told by end, and the other
// direction, whose source is back, goes on. A failure closes both connections.
func (t *tunnel) carry(dst io.Writer, src io.Reader, end func() error, back io.Reader) {
	if t.copy(dst, src) != nil || end() != nil {
		t.close()
		return
	}
	t.halfClosed.Store(true)
	t.limitSilence(back) // of the read under way
}

// copy copies with a small buffer, and with a large one once a read has filled the
// small one: there can be many WebSockets, and most are idle.
func (t *tunnel) copy(dst io.Writer, src io.Reader) error {
	buf := make([]byte, 4<<10)
	for {
		if t.halfClosed.Load() {
			t.limitSilence(src)
		}
		n, err := src.Read(buf)
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case n == len(buf) && n < copyBuffer:
			buf = make([]byte, copyBuffer)
		}
	}
}

// limitSilence bounds the next read, or the one under way. A WebSocket that the gateway has ended has a moment.
func (t *tunnel) limitSilence(src io.Reader) {
	silence := t.silence
	if t.client.toldToClose() {
		silence = min(silence, closing)
	}
	if s, ok := src.(interface{ SetReadDeadline(time.Time) error }); ok {
		_ = s.SetReadDeadline(time.Now().Add(silence)) // a closed connection will tell the read
	}
}

func (t *tunnel) close() {
	t.client.Close()
	t.server.Close()
}

// closeWriteOf returns what tells a connection's peer that no more is coming.
func closeWriteOf(c any) func() error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite
	}
	return func() error { return http.ErrNotSupported }
}
