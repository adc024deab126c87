package proxy

import "encoding/binary"

// goingAway returns a WebSocket close frame with status 1001, unmasked as a
// server's frames are (RFC 6455 sections 5.5.1 and 7.4.1).
func goingAway() []byte { return []byte{0x88, 2, 1001 >> 8, 1001 & 0xff} }

// frameScanner finds where the frames of a WebSocket stream end (RFC 6455
// section 5.2). It does not look at their contents.
type frameScanner struct {
	head    [10]byte // as much of the frame's header as has been seen
	seen    int
	payload uint64 // bytes of payload (and mask) still to come
}

// atBoundary reports whether the stream is between two frames.
func (s *frameScanner) atBoundary() bool { return s.seen == 0 && s.payload == 0 }

// skip follows all of p.
func (s *frameScanner) skip(p []byte) {
	for len(p) > 0 {
		p = p[s.skipFrame(p):]
	}
}

// skipFrame follows p to the end of the current frame at most, and returns
// how much of it that was.
func (s *frameScanner) skipFrame(p []byte) int {
	n := 0
	for s.payload == 0 {
		if n == len(p) {
			return n
		}
		s.head[s.seen] = p[n]
		s.seen++
		n++
		if s.seen < 2 || s.seen < 2+s.lengthBytes() {
			continue
		}
		s.payload = s.length()
		s.seen = 0
		if s.payload == 0 {
			return n // an empty frame
		}
	}
	take := min(s.payload, uint64(len(p)-n))
	s.payload -= take
	return n + int(take)
}

// lengthBytes is how many bytes of extended payload length follow the first
// two.
func (s *frameScanner) lengthBytes() int {
	switch s.head[1] & 0x7f {
	case 126:
		return 2
	case 127:
		return 8
	}
	return 0
}

// length is what follows the header: the mask, if there is one, and the
// payload.
func (s *frameScanner) length() uint64 {
	var n uint64
	switch s.lengthBytes() {
	case 2:
		n = uint64(binary.BigEndian.Uint16(s.head[2:]))
	case 8:
		n = binary.BigEndian.Uint64(s.head[2:])
	default:
		n = uint64(s.head[1] & 0x7f)
	}
	if s.head[1]&0x80 != 0 {
		n += 4
	}
	return n
}
