package proxy

import "encoding/binary"

// Statuses of close frames (RFC 6455 section 7.4.1).
const (
	goingAway       uint16 = 1001
	policyViolation uint16 = 1008
)

// Opcodes of frames (RFC 6455 section 5.2).
const (
	opcodeClose = 0x8
	opcodePong  = 0xA
)

// closeFrame returns a close frame with a status, unmasked as a server's frames
// are (RFC 6455 sections 5.1 and 5.5.1).
func closeFrame(status uint16) []byte {
	return []byte{0x80 | opcodeClose, 2, byte(status >> 8), byte(status)}
}

// maskedCloseFrame is a close frame as a client's frames are. Its mask is zero: masks protect
// proxies from what a web page has chosen, which a status is not.
func maskedCloseFrame(status uint16) []byte {
	return []byte{0x80 | opcodeClose, 0x80 | 2, 0, 0, 0, 0, byte(status >> 8), byte(status)}
}

// frameScanner finds where the frames of a WebSocket stream end (RFC 6455
// section 5.2). It does not look at their contents.
type frameScanner struct {
	head    [10]byte // as much of the frame's header as has been seen
	seen    int
	payload uint64 // bytes of payload (and mask) still to come
}

// atBoundary reports whether the stream is between two frames.
func (s *frameScanner) atBoundary() bool { return s.seen == 0 && s.payload == 0 }

// skip follows all of p, and returns the kinds of frames that p has a part of.
func (s *frameScanner) skip(p []byte) (kinds frameKinds) {
	for len(p) > 0 {
		n := s.skipFrame(p)
		kinds |= 1 << (s.head[0] & 0xf)
		p = p[n:]
	}
	return kinds
}

// frameKinds is a set of opcodes.
type frameKinds uint16

func (k frameKinds) has(opcode int) bool { return k&(1<<opcode) != 0 }

// hasOther reports whether the set has another opcode than this one.
func (k frameKinds) hasOther(opcode int) bool { return k&^(1<<opcode) != 0 }

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
