package proxy

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// clientFrames passes what the client of a WebSocket sends on to the server, until the gateway
// ends the WebSocket. It follows the frames, to know whether the client sends more than pongs.
type clientFrames struct {
	server io.Writer
	used   atomic.Bool // something else than a pong has come

	mu     sync.Mutex // held during writes to the server
	frames frameScanner
	ended  bool // nothing is passed on any more
}

var errCloseAnswered = errors.New("the client has answered the gateway's close frame")

// Write passes p on. Once the WebSocket has been ended it drops p, and fails when the client
// has answered the close frame.
func (f *clientFrames) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	kinds := f.frames.skip(p)
	if f.ended {
		if kinds.has(opcodeClose) {
			return len(p), errCloseAnswered
		}
		return len(p), nil
	}
	if kinds.hasOther(opcodePong) && !f.used.Load() {
		f.used.Store(true)
	}
	return f.server.Write(p)
}

// end stops passing on what the client sends, and tells the server, unless that has got a part of a
// frame: it would take a close frame for the rest.
func (f *clientFrames) end(status uint16) {
	f.mu.Lock() // a write under way ends first, if need be with the connection
	defer f.mu.Unlock()
	f.ended = true
	if f.frames.atBoundary() {
		_, _ = f.server.Write(maskedCloseFrame(status))
	}
}
