package http1client

import (
	"encoding/binary"
	"net"
)

// Records is a connection below TLS. It follows the records (RFC 8446 section 5.1) that are read, so that a part of one which TLS holds back
// is known of.
type Records struct {
	net.Conn
	head [5]byte
	seen int // of head
	left int // of the record behind head
}

func (r *Records) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.follow(p[:n])
	return n, err
}

func (r *Records) follow(p []byte) {
	for len(p) > 0 {
		if r.left > 0 {
			n := min(r.left, len(p))
			r.left -= n
			p = p[n:]
			continue
		}
		n := copy(r.head[r.seen:], p)
		r.seen += n
		p = p[n:]
		if r.seen == len(r.head) {
			r.left = int(binary.BigEndian.Uint16(r.head[3:]))
			r.seen = 0
		}
	}
}

// atBoundary reports whether what has been read ends with a whole record.
func (r *Records) atBoundary() bool { return r.seen == 0 && r.left == 0 }
