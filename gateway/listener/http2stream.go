package listener

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/net/http2"
)

// http2Stream is one request and its answer on an HTTP/2 connection. It is never used again for another one: handlers
// may keep its parts for as long as they like, but for the answer. A worker runs the handler.
type http2Stream struct {
	conn      *http2Conn
	id        uint32
	url       url.URL
	request   *http.Request
	body      *http2Body // nil where there is none
	ctx       requestContext
	response  http2Response
	refusal   *RequestError // the handler does not see the request
	malformed bool          // as RFC 9113 section 8.1.1 has it: the stream is reset behind the refusal
	whole     bool          // the handler has returned, and did not panic

	// The rest is guarded by the connection's mutex.

	clientEnded bool  // the client has sent all that it will
	ended       bool  // the gateway has: END_STREAM
	failure     error // why nothing can be sent or received any more
	begun       bool  // the answer's header is out
	lingering   *time.Timer

	window   int64    // that the client has left for the answer
	sendable signal   // the window has grown, it is this stream's turn, or it has failed
	turn     bool     // to send
	queued   bool     // for its turn
	stall    bodyRate // of the client's taking the answer
	writeBy  time.Time
	readBy   time.Time
}

// slowestAnswer is the bytes per second at which an answer may be taken for ever. It is next to nothing: it keeps a
// client from holding an app server's connection with a window of a byte now and then.
const slowestAnswer = 64

func (c *http2Conn) newStream(id uint32) *http2Stream {
	x := &http2Stream{conn: c, id: id}
	x.ctx.owner = x
	x.response.x = x
	x.response.header = make(http.Header, 8)
	x.stall = bodyRate{min: slowestAnswer, grace: c.server.options.WriteStall}
	x.stall.begin()
	return x
}

// watchClient implements contextOwner: the connection is always read from.
func (x *http2Stream) watchClient() {}

// localAddr implements contextOwner.
func (x *http2Stream) localAddr() net.Addr { return x.conn.LocalAddr() }

// bodyRefusal implements contextOwner.
func (x *http2Stream) bodyRefusal() *RequestError {
	if x.body == nil {
		return nil
	}
	return x.body.refusal.Load()
}

// work implements task: it runs the handler, and sees the answer out.
func (x *http2Stream) work() {
	defer x.end() // also where the handler panics or ends this goroutine
	if x.refusal != nil {
		x.response.refuse(x.refusal)
	} else {
		x.conn.server.options.Handler.ServeHTTP(&x.response, x.request)
	}
	x.whole = true
}

// end is called when the handler has returned, or panicked.
func (x *http2Stream) end() {
	c := x.conn
	if !x.whole {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			c.server.panicked.Log(context.Background(), c.server.options.Logger, slog.LevelError, "a handler panicked", "peer", c.remote, "panic", p, "stack", string(debug.Stack()))
		}
	}
	x.ctx.end()
	if c.finish(x) {
		c.server.conns.remove(c)
	}
}

// finish ends a stream whose handler is done, and reports whether nothing of the connection is left.
func (c *http2Conn) finish(x *http2Stream) (gone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case x.malformed:
		_ = x.response.push() // an error is the stream's, and it has ended
		x.response.release()
		x.reset(http2.ErrCodeProtocol, errAborted)
	case x.whole:
		x.response.finish()
	default:
		x.response.release()
	}
	switch {
	case x.failure != nil:
	case !x.ended: // the client must see that the answer is not whole
		x.reset(http2.ErrCodeInternal, errAborted)
	case !x.clientEnded:
		x.lingering = time.AfterFunc(streamLinger, x.endLingering)
	default:
		c.budget.gain(gainAnswer)
		x.forget(errAborted)
	}
	if x.body != nil {
		x.body.drop()
	}
	if c.serving--; c.serving == 0 {
		c.idleSince = time.Now()
	}
	if c.server.draining.Load() {
		c.goAway()
	}
	c.flush()
	return c.over && c.serving == 0
}

// streamLinger is how long a client may take to end its request by itself when it was answered before. There are clients that
// lose the answer where it comes together with a reset.
const streamLinger = 500 * time.Millisecond

// endLingering resets a stream that was answered before the client had sent its request: the rest is not needed (RFC 9113
// section 8.1).
func (x *http2Stream) endLingering() {
	c := x.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	x.reset(http2.ErrCodeNo, errAborted)
	c.flush()
}

var (
	errAborted     = errors.New("listener: the handler has returned")
	errClientReset = errors.New("listener: the client has reset the stream")
)

// reset resets the stream. c.mu is held.
func (x *http2Stream) reset(code http2.ErrCode, why error) {
	if x.failure != nil {
		return
	}
	x.conn.appendReset(x.id, code)
	if !x.clientEnded {
		x.conn.resets.add(x.id) // the client may have sent more before it knows
	}
	x.forget(why)
}

// forget ends the stream: it waits for nothing any more, and its frames are those of a closed one. c.mu is held.
func (x *http2Stream) forget(why error) {
	x.failure = why
	delete(x.conn.streams, x.id)
	if x.lingering != nil {
		x.lingering.Stop()
	}
	x.sendable.raise()
	if x.body != nil {
		x.body.fail(why)
	}
}

// send sends data of the answer, as the client's windows allow. c.mu is held, and released where it waits.
func (x *http2Stream) send(p []byte, ends bool) error {
	c := x.conn
	if len(p) == 0 && ends {
		if x.failure != nil {
			return x.failure
		}
		c.appendFrame(http2.FrameData, http2.FlagDataEndStream, x.id, nil)
		x.ended = true
		return nil
	}
	for len(p) > 0 {
		n, err := x.reserve(len(p))
		if err != nil {
			return err
		}
		var flags http2.Flags
		if ends && n == len(p) {
			flags = http2.FlagDataEndStream
			x.ended = true
		}
		c.appendFrame(http2.FrameData, flags, x.id, p[:n])
		p = p[n:]
		x.stall.spend(0, n)
		if n >= dataWorth {
			c.budget.gain(1 + n>>10*gainKiB)
		}
		c.nextSender()
	}
	return nil
}

// reserve waits until the stream may send, and returns how much of want. c.mu is held, and released where it waits.
func (x *http2Stream) reserve(want int) (int, error) {
	c := x.conn
	for turn := false; ; {
		if x.failure != nil {
			c.unqueue(x)
			c.nextSender() // it may have been this stream's turn
			return 0, x.failure
		}
		if x.window > 0 && (turn || len(c.queue) == 0) {
			if n := min(int64(want), x.window, c.window, int64(c.room())); n > 0 {
				x.window -= n
				c.window -= n
				return int(n), nil
			}
		}
		if c.flush() {
			continue // it has released the lock meanwhile
		}
		if err := x.awaitTurn(turn); err != nil {
			return 0, err
		}
		turn, x.turn = x.turn, false
	}
}

// awaitTurn waits until there may be something to send, within the time that the client has to take the answer.
func (x *http2Stream) awaitTurn(first bool) error {
	c := x.conn
	if x.window > 0 && !x.queued {
		c.enqueue(x, first)
	}
	c.nextSender() // if it is not this stream that waits for the client, it is another one's turn
	if x.turn {
		return nil
	}
	by := x.writeBy
	if x.stall.grace > 0 {
		by = earlier(by, time.Now().Add(x.stall.patience()))
	}
	start := time.Now()
	x.sendable.wait(&c.mu, by)
	if x.failure != nil || x.turn {
		return nil
	}
	now := time.Now()
	x.stall.spend(now.Sub(start), 0)
	switch {
	case x.stall.grace > 0 && x.stall.patience() <= 0:
		if !c.charge(costStall) {
			_ = c.Conn.SetReadDeadline(longAgo) // the goroutine that reads ends the connection
		}
	case x.writeBy.IsZero() || now.Before(x.writeBy):
		return nil
	}
	x.reset(http2.ErrCodeCancel, os.ErrDeadlineExceeded)
	return nil
}

// refused makes the stream's worker refuse the request.
func (x *http2Stream) refused(err *RequestError) {
	x.refusal = err
	x.conn.server.options.Refused(x.conn.RemoteAddr(), err)
}
