package listener

import (
	"errors"
	"net/http"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// readFrame reads a frame and does what it asks for. Its error ends the connection.
func (c *http2Conn) readFrame() error {
	if c.head.open {
		c.in.expectMore()
	} else {
		c.in.between()
	}
	fh, err := c.framer.ReadFrameHeader()
	if err != nil {
		return frameError(err)
	}
	if fh.Type == http2.FrameData {
		return c.readData(fh)
	}
	f, err := c.framer.ReadFrameForHeader(fh)
	if err != nil {
		return c.onBadFrame(fh, err)
	}
	switch f := f.(type) {
	case *http2.HeadersFrame:
		return c.onHeaders(f)
	case *http2.ContinuationFrame:
		return c.onFragment(f.HeaderBlockFragment(), f.HeadersEnded())
	case *http2.RSTStreamFrame:
		return c.onReset(f)
	case *http2.SettingsFrame:
		return c.onSettings(f)
	case *http2.PingFrame:
		return c.onPing(f)
	case *http2.WindowUpdateFrame:
		return c.onWindowUpdate(f)
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return c.streamError(f.StreamID, http2.ErrCodeProtocol)
		}
	case *http2.PushPromiseFrame:
		return protocolError("clients must not push")
	}
	return c.onUseless() // PRIORITY, GOAWAY, unknown frames
}

// frameError is what the framer's error is for the connection.
func frameError(err error) error {
	var code http2.ConnectionError
	switch {
	case errors.Is(err, http2.ErrFrameTooLarge):
		return connError{http2.ErrCodeFrameSize, "a frame is too large"}
	case errors.As(err, &code):
		return connError{http2.ErrCode(code), "a frame is malformed"}
	}
	return err
}

// onBadFrame deals with a frame that the framer does not accept.
func (c *http2Conn) onBadFrame(fh http2.FrameHeader, err error) error {
	var offence http2.StreamError
	if !errors.As(err, &offence) {
		return frameError(err)
	}
	if fh.Type == http2.FrameHeaders { // what was in it is lost, and with it the compression's state
		return connError{offence.Code, "HEADERS are malformed"}
	}
	return c.streamError(fh.StreamID, offence.Code)
}

// streamError resets a stream for a fault of the client's.
func (c *http2Conn) streamError(id uint32, code http2.ErrCode) error {
	c.mu.Lock()
	if c.isIdle(id) && code != http2.ErrCodeProtocol {
		c.mu.Unlock()
		return protocolError("a frame is for a stream that was not opened")
	}
	x := c.streams[id]
	if x != nil {
		x.reset(code, errMalformed("a frame of the stream"))
	} else {
		c.appendReset(id, code)
	}
	calm := c.charge(costReset)
	c.mu.Unlock()
	if x != nil {
		x.ctx.end()
	}
	if !calm {
		return errCalm
	}
	return nil
}

// isIdle reports whether a stream was never opened. c.mu is held.
func (c *http2Conn) isIdle(id uint32) bool { return id > c.last || id%2 == 0 }

// onUseless accounts for a frame that asks for nothing.
func (c *http2Conn) onUseless() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.charge(costFrame) {
		return errCalm
	}
	return nil
}

// onHeaders begins a header section: a request, or a trailer.
func (c *http2Conn) onHeaders(f *http2.HeadersFrame) error {
	id := f.StreamID
	c.mu.Lock()
	x, idle := c.streams[id], c.isIdle(id)
	use := forRequest
	switch {
	case id%2 == 0:
		c.mu.Unlock()
		return protocolError("clients open streams with odd numbers")
	case x != nil && !x.clientEnded:
		use = forTrailer
	case x != nil || !idle && c.resets.has(id):
		use = forNothing
	case !idle:
		c.mu.Unlock()
		return connError{http2.ErrCodeStreamClosed, "HEADERS are for a stream that is closed"}
	default:
		c.last = id
	}
	c.mu.Unlock()
	c.head.begin(id, use, f.StreamEnded())
	c.head.selfish = f.HasPriority() && f.Priority.StreamDep == id
	return c.onFragment(f.HeaderBlockFragment(), f.HeadersEnded())
}

// onFragment takes a piece of a header section.
func (c *http2Conn) onFragment(fragment []byte, ends bool) error {
	if !c.head.fragment(len(fragment)) {
		return connError{http2.ErrCodeEnhanceYourCalm, "a header section is too large, or has too many frames"}
	}
	if _, err := c.fields.Write(fragment); err != nil {
		return compressionError(err)
	}
	if c.head.open = !ends; c.head.open {
		return nil
	}
	if err := c.fields.Close(); err != nil {
		return compressionError(err)
	}
	defer c.head.forget()
	switch c.head.use {
	case forRequest:
		return c.onRequest()
	case forTrailer:
		return c.onTrailer()
	}
	c.mu.Lock()
	open := c.streams[c.head.stream] != nil
	c.mu.Unlock()
	if open { // and has sent END_STREAM before
		return c.streamError(c.head.stream, http2.ErrCodeStreamClosed)
	}
	return c.onUseless()
}

func compressionError(err error) error {
	if errors.Is(err, hpack.ErrStringLength) {
		return connError{http2.ErrCodeEnhanceYourCalm, "a header field is too large"}
	}
	return connError{http2.ErrCodeCompression, "a header section cannot be decompressed"}
}

// onRequest opens a stream.
func (c *http2Conn) onRequest() error {
	h := &c.head
	c.mu.Lock()
	final, full := c.leaving.final, max(c.serving, len(c.streams)) >= c.server.options.MaxStreams
	c.mu.Unlock()
	if final || full { // the client may send it again, RFC 9113 section 8.7
		return c.refuseStream(h.stream, http2.ErrCodeRefusedStream)
	}
	x := c.newStream(h.stream)
	r, err := h.request(x)
	x.request = r
	x.response.toHEAD = r.Method == http.MethodHead
	var offence *RequestError
	var malformed errMalformed
	switch {
	case h.selfish:
		return c.refuseStream(h.stream, http2.ErrCodeProtocol)
	case errors.As(err, &malformed):
		x.malformed = true
		x.refused(bad(string(malformed)))
	case errors.As(err, &offence):
		x.refused(offence)
	}
	if !h.ends {
		x.body = newHTTP2Body(x)
		r.Body = x.body
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	x.clientEnded = h.ends
	x.window = c.firstRoom
	c.streams[x.id] = x
	c.serving++
	c.started = append(c.started, x)
	if x.malformed && !c.charge(costReset) {
		return errCalm
	}
	return nil
}

// refuseStream resets a stream of which no handler knows.
func (c *http2Conn) refuseStream(id uint32, code http2.ErrCode) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.appendReset(id, code)
	if !c.head.ends {
		c.resets.add(id)
	}
	if !c.charge(costReset) {
		return errCalm
	}
	return nil
}

// onTrailer ends a stream's body with a trailer.
func (c *http2Conn) onTrailer() error {
	trailer, err := c.head.trailer()
	if err != nil || !c.head.ends {
		return c.streamError(c.head.stream, http2.ErrCodeProtocol)
	}
	return c.endBody(c.head.stream, trailer)
}

// endBody ends what a client sends on a stream.
func (c *http2Conn) endBody(id uint32, trailer http.Header) error {
	c.mu.Lock()
	x := c.streams[id]
	if x == nil {
		c.mu.Unlock()
		return nil
	}
	x.clientEnded = true
	if x.lingering != nil {
		x.forget(errAborted)
	}
	whole := x.body == nil || x.body.finish(trailer)
	c.mu.Unlock()
	if !whole {
		return c.streamError(id, http2.ErrCodeProtocol) // RFC 9113 section 8.1.1
	}
	return nil
}

// readData reads a DATA frame straight into its stream's body.
func (c *http2Conn) readData(fh http2.FrameHeader) error {
	if fh.StreamID == 0 {
		return protocolError("DATA are for no stream")
	}
	c.in.expect(c.dataPatience(int(fh.Length)))
	length, padding := int(fh.Length), 0
	if fh.Flags.Has(http2.FlagDataPadded) {
		if length == 0 {
			return connError{http2.ErrCodeFrameSize, "DATA have no room for their padding"}
		}
		p, err := c.in.next(1)
		if err != nil {
			return err
		}
		length--
		if padding = int(p[0]); padding > length {
			return protocolError("DATA have more padding than they are long")
		}
		length -= padding
	}
	x, err := c.admitData(fh, length)
	if err != nil {
		return err
	}
	tooLong, err := c.takeData(x, length)
	if err != nil {
		return err
	}
	for padding > 0 {
		p, err := c.in.next(padding)
		if err != nil {
			return err
		}
		padding -= len(p)
	}
	switch {
	case x != nil && tooLong:
		return c.streamError(fh.StreamID, http2.ErrCodeProtocol)
	case x != nil && fh.Flags.Has(http2.FlagDataEndStream):
		return c.endBody(fh.StreamID, nil)
	}
	return nil
}

// dataPatience is how long a DATA frame of n bytes may take.
func (c *http2Conn) dataPatience(n int) time.Duration {
	o := c.server.options
	if o.MinBodyRate < 0 {
		return o.IdleTimeout
	}
	return o.BodyGrace + time.Duration(n)*time.Second/time.Duration(o.MinBodyRate)
}

// admitData accounts for a DATA frame, and returns its stream; nil where the data are to be thrown away.
func (c *http2Conn) admitData(fh http2.FrameHeader, length int) (*http2Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, whole := fh.StreamID, int(fh.Length)
	if c.isIdle(id) {
		return nil, protocolError("DATA are for a stream that was not opened")
	}
	if !c.recv.take(whole) {
		return nil, connError{http2.ErrCodeFlowControl, "there is more data than the window of the connection allows"}
	}
	calm := length > 0 || fh.Flags.Has(http2.FlagDataEndStream) || c.charge(costFrame)
	x := c.streams[id]
	switch {
	case !calm:
		return nil, errCalm
	case x != nil && !x.clientEnded && x.body.window.take(whole):
		x.body.padded(whole - length)
		return x, nil
	case x != nil && !x.clientEnded:
		x.reset(http2.ErrCodeFlowControl, errMalformed("more data than the window of the stream allows"))
		go x.ctx.end()
	case x != nil:
		x.reset(http2.ErrCodeStreamClosed, errMalformed("data behind the end"))
		go x.ctx.end()
	case !c.resets.has(id):
		c.appendReset(id, http2.ErrCodeStreamClosed)
	default:
		c.freed(whole, false)
		return nil, nil
	}
	c.freed(whole, false)
	if !c.charge(costReset) {
		return nil, errCalm
	}
	return nil, nil
}

// takeData reads so many bytes of data into a stream's body, or throws them away.
func (c *http2Conn) takeData(x *http2Stream, length int) (tooLong bool, err error) {
	for length > 0 {
		p, err := c.in.next(length)
		if err != nil {
			return false, err
		}
		length -= len(p)
		if x == nil {
			continue
		}
		c.mu.Lock()
		if tooLong = tooLong || !x.body.put(p); tooLong {
			c.freed(len(p), false)
		}
		c.mu.Unlock()
	}
	return tooLong, nil
}

// onReset ends a stream as the client wishes.
func (c *http2Conn) onReset(f *http2.RSTStreamFrame) error {
	c.mu.Lock()
	if c.isIdle(f.StreamID) {
		c.mu.Unlock()
		return protocolError("RST_STREAM is for a stream that was not opened")
	}
	x, cost := c.streams[f.StreamID], costFrame
	if x != nil {
		cost = costReset
		x.forget(errClientReset)
	}
	calm := c.charge(cost)
	c.mu.Unlock()
	if x != nil {
		x.ctx.end()
	}
	if !calm {
		return errCalm
	}
	return nil
}

// onSettings obeys the client's settings, RFC 9113 section 6.5.2. Those about compression and frames' sizes need
// nothing: what the gateway sends is within the least that a client must take.
func (c *http2Conn) onSettings(f *http2.SettingsFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.charge(costFrame) {
		return errCalm
	}
	if f.IsAck() {
		return nil
	}
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return frameError(err)
		}
		if s.ID != http2.SettingInitialWindowSize {
			return nil
		}
		more := int64(s.Val) - c.firstRoom
		c.firstRoom = int64(s.Val)
		for _, x := range c.streams {
			if x.window += more; x.window > mostWindow {
				return connError{http2.ErrCodeFlowControl, "a stream's window is too large"}
			}
			x.sendable.raise()
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.appendFrame(http2.FrameSettings, http2.FlagSettingsAck, 0, nil)
	return nil
}

const mostWindow = 1<<31 - 1

// onPing answers a PING.
func (c *http2Conn) onPing(f *http2.PingFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.charge(costFrame):
		return errCalm
	case !f.IsAck():
		c.appendFrame(http2.FramePing, http2.FlagPingAck, 0, f.Data[:])
	case f.Data == leavingPing && !c.leaving.asked.IsZero():
		c.leaving.heard = true
	}
	return nil
}

// onWindowUpdate lets more of an answer be sent.
func (c *http2Conn) onWindowUpdate(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.charge(costFrame) {
		return errCalm
	}
	if f.StreamID == 0 {
		if c.window += int64(f.Increment); c.window > mostWindow {
			return connError{http2.ErrCodeFlowControl, "the window of the connection is too large"}
		}
		c.nextSender()
		return nil
	}
	if c.isIdle(f.StreamID) {
		return protocolError("WINDOW_UPDATE is for a stream that was not opened")
	}
	x := c.streams[f.StreamID]
	if x == nil {
		return nil
	}
	if x.window += int64(f.Increment); x.window > mostWindow {
		x.reset(http2.ErrCodeFlowControl, errMalformed("the stream's window is too large"))
		go x.ctx.end()
		return nil
	}
	x.sendable.raise()
	return nil
}
