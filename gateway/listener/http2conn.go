package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/headgate/headgate/internal/http1"
)

// http2Conn serves HTTP/2 on one connection. One goroutine reads frames (http2read.go, http2frames.go); each request is
// served by a worker (http2stream.go), which writes the answer itself (http2write.go), together with what others have
// to say at that moment.
type http2Conn struct {
	net.Conn // *socket, or *tls.Conn on one
	socket   *socket
	server   *Server
	tls      *tls.ConnectionState
	remote   string // what requests say of it

	// Of the goroutine that reads.
	in      frameReader
	framer  *http2.Framer
	fields  *hpack.Decoder
	head    http2Head
	started []*http2Stream // by what has arrived; their handlers do not run yet

	mu        sync.Mutex
	streams   map[uint32]*http2Stream // that are open, or half-closed
	serving   int                     // handlers that run or are about to, those of reset streams, too
	idleSince time.Time               // while serving is 0
	last      uint32                  // the highest stream that the client has opened
	resets    resetStreams
	budget    budget
	leaving   leaving
	over      bool // the connection has ended

	recv       recvWindow // for what the client sends
	window     int64      // that the client has left for answers
	firstRoom  int64      // of a new stream's window for its answer
	queue      []*http2Stream
	out        *[]byte // what is to be written next; nil: nothing
	writing    bool    // a goroutine is about to
	tableSized bool
}

// leaving is how far the end of the connection has come, RFC 9113 section 6.8.
type leaving struct {
	asked time.Time // the client was told to open no more streams
	heard bool      // and has acknowledged a PING that was sent behind it: what it opened before has arrived
	final bool      // it was told which streams are served
}

func newHTTP2Conn(c net.Conn, sock *socket, s *Server, rest []byte) *http2Conn {
	hc := &http2Conn{
		Conn: c, socket: sock, server: s,
		remote:    c.RemoteAddr().String(),
		streams:   map[uint32]*http2Stream{},
		idleSince: time.Now(),
		window:    streamWindow, firstRoom: streamWindow,
		head: http2Head{limits: http1.Limits{Head: s.options.MaxHeaderBytes, Fields: s.options.MaxHeaderFields}},
	}
	hc.in.init(hc, rest)
	hc.framer = http2.NewFramer(nil, &hc.in)
	hc.framer.SetReuseFrames()
	hc.framer.SetMaxReadFrameSize(maxFrame)
	hc.fields = hpack.NewDecoder(hpackTable, hc.head.emit)
	hc.fields.SetMaxStringLength(4 * s.options.MaxHeaderBytes)
	if t, ok := c.(*tls.Conn); ok {
		state := t.ConnectionState()
		hc.tls = &state
	}
	return hc
}

const hpackTable = 4 << 10 // what clients begin with, RFC 9113 section 6.5.2

// serve serves until the connection ends.
func (c *http2Conn) serve() {
	defer c.end()
	defer func() {
		if p := recover(); p != nil {
			c.server.panicked.Log(context.Background(), c.server.options.Logger, slog.LevelError, "serving a connection panicked", "peer", c.remote, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	c.sendSettings()
	err := c.readPreface()
	for err == nil {
		err = c.readFrame()
	}
	c.server.options.Logger.Debug("an HTTP/2 connection has ended", "peer", c.remote, "error", err)
	var offence connError
	if errors.As(err, &offence) {
		c.sayGoodbye(offence)
	}
}

// connError ends the connection; the client is told why, RFC 9113 section 5.4.1.
type connError struct {
	code   http2.ErrCode
	reason string
}

func (e connError) Error() string { return "listener: " + e.code.String() + ": " + e.reason }

func protocolError(reason string) error { return connError{http2.ErrCodeProtocol, reason} }

// errCalm is the end of a client that makes the gateway work for nothing.
var errCalm = connError{http2.ErrCodeEnhanceYourCalm, "too many frames are of no use"}

// sendSettings sends the gateway's part of the preface, RFC 9113 section 3.4.
func (c *http2Conn) sendSettings() {
	o := c.server.options
	c.mu.Lock()
	defer c.mu.Unlock()
	var settings []byte
	for _, s := range []http2.Setting{
		{ID: http2.SettingMaxConcurrentStreams, Val: uint32(o.MaxStreams)},
		// The limit is kept to when the header is here, and has a better answer: clients that know it send nothing.
		{ID: http2.SettingMaxHeaderListSize, Val: uint32(2 * o.MaxHeaderBytes)},
	} {
		settings = append(settings, byte(s.ID>>8), byte(s.ID), byte(s.Val>>24), byte(s.Val>>16), byte(s.Val>>8), byte(s.Val))
	}
	c.appendFrame(http2.FrameSettings, 0, 0, settings)
	c.recv = recvWindow{size: connWindow, left: connWindow}
	c.appendWindowUpdate(0, connWindow-streamWindow)
	c.flush()
}

// sayGoodbye tells the client why the connection ends, and gives it the time to read that.
func (c *http2Conn) sayGoodbye(why connError) {
	_ = c.socket.SetWriteDeadline(time.Now().Add(goodbye)) // another goroutine may be writing
	c.mu.Lock()
	c.appendGoAway(c.last, why.code, why.reason)
	c.over = true
	c.flush()
	c.mu.Unlock()
	if t, ok := c.Conn.(*tls.Conn); ok {
		_ = t.CloseWrite()
	}
	c.socket.linger(goodbye)
}

const goodbye = time.Second

// end closes the connection, and ends what is left of its requests.
func (c *http2Conn) end() {
	c.socket.Close() // not c.Conn: TLS would say goodbye first, and wait for a write under way
	c.mu.Lock()
	streams := c.fail(net.ErrClosed)
	c.serving -= len(c.started) // no handler runs for them
	gone := c.serving == 0
	c.mu.Unlock()
	for _, x := range streams {
		x.ctx.end()
	}
	c.in.release()
	if gone {
		c.server.conns.remove(c)
	}
}

// fail ends all streams: nothing can be sent or received any more. It returns them; their contexts are to be ended
// without the lock. c.mu is held.
func (c *http2Conn) fail(why error) (streams []*http2Stream) {
	c.over = true
	for _, x := range c.streams {
		streams = append(streams, x)
	}
	for _, x := range streams {
		x.forget(why)
	}
	c.dropOut()
	return streams
}

// charge spends of the client's budget, and reports whether it had it. c.mu is held.
func (c *http2Conn) charge(n int) bool { return c.budget.spend(n, time.Now()) }

// goAway tells the client to open no more streams here, once. c.mu is held.
func (c *http2Conn) goAway() {
	if c.over || !c.leaving.asked.IsZero() {
		return
	}
	c.leaving.asked = time.Now()
	c.appendGoAway(1<<31-1, http2.ErrCodeNo, "")
	c.appendFrame(http2.FramePing, 0, 0, leavingPing[:])
}

var leavingPing = [8]byte{'l', 'e', 'a', 'v', 'i', 'n', 'g', '.'}

// leavingTimeout is how long a client may take to notice that the gateway is going.
const leavingTimeout = time.Second

// drain implements tracked: it closes the connection as soon as nothing is under way on it. A client that opens a stream just
// then learns that it was not served, and tries again elsewhere.
func (c *http2Conn) drain(since, _ time.Time) (closed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return c.serving == 0
	}
	if !c.in.prefaced.Load() && time.Since(since) < patience {
		return false
	}
	c.goAway()
	if c.leaving.heard || time.Since(c.leaving.asked) > leavingTimeout {
		if !c.leaving.final {
			c.leaving.final = true
			c.appendGoAway(c.last, http2.ErrCodeNo, "")
		}
		if c.serving == 0 && c.out == nil && !c.writing {
			c.over = true
			go c.Conn.Close() // over TLS it says goodbye, which may take a while
			return true
		}
	}
	if c.out != nil && !c.writing {
		c.flushElsewhere()
	}
	return false
}

// abort implements tracked.
func (c *http2Conn) abort() {
	c.socket.Close() // not c.Conn: TLS would say goodbye first, and wait for a write under way
}

// resetStreams are streams that the gateway has reset while the client may still have been sending: the last few.
type resetStreams struct {
	ids  []uint32
	next int
}

const mostResetStreams = 128

func (r *resetStreams) add(id uint32) {
	if len(r.ids) < mostResetStreams {
		r.ids = append(r.ids, id)
		return
	}
	r.ids[r.next] = id
	r.next = (r.next + 1) % mostResetStreams
}

func (r *resetStreams) has(id uint32) bool { return slices.Contains(r.ids, id) }
