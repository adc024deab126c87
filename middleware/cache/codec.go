package cache

import (
	"encoding/binary"
	"errors"
	"net/http"
	"time"
)

// An entry's metadata in Redis: a version, then fields of fixed order, each
// number a varint and each text length-prefixed. It is read back as if anyone
// could have written it.

const codecVersion = 1

var errCorrupt = errors.New("cache: stored metadata cannot be read")

func encodeEntry(e *entry) []byte {
	w := encoder{make([]byte, 0, 1024)}
	w.b = append(w.b, codecVersion)
	w.text(e.keyText)
	w.number(int64(e.status))
	w.time(e.date)
	w.time(e.received)
	w.number(int64(e.initialAge))
	w.number(int64(e.lifetime))
	w.number(int64(e.source))
	w.number(int64(e.staleWhileRevalidate))
	w.number(int64(e.staleIfError))
	w.flag(e.noCache)
	w.flag(e.neverStale)
	w.number(int64(e.admits))
	w.b = append(w.b, e.stamp.log[:]...)
	w.number(int64(e.stamp.epoch))
	w.number(int64(len(e.tags)))
	for i := range e.tags {
		w.b = append(w.b, e.tags[i][:]...)
	}
	w.number(int64(len(e.vary)))
	for i := range e.vary {
		w.text(e.vary[i].name)
		w.text(e.vary[i].value)
		w.flag(e.vary[i].present)
	}
	w.number(int64(len(e.header)))
	for name, values := range e.header {
		w.text(name)
		w.number(int64(len(values)))
		for _, v := range values {
			w.text(v)
		}
	}
	w.text(e.bodyID)
	w.number(e.body.size)
	return w.b
}

// decodeEntry reads an entry without its body, whose size is set.
func decodeEntry(b []byte) (*entry, error) {
	r := decoder{b: b}
	if r.byte() != codecVersion {
		return nil, errCorrupt
	}
	e := &entry{}
	e.keyText = r.text()
	e.status = int(r.number())
	e.date = r.time()
	e.received = r.time()
	e.initialAge = time.Duration(r.number())
	e.lifetime = time.Duration(r.number())
	e.source = lifetimeSource(r.number())
	e.staleWhileRevalidate = time.Duration(r.number())
	e.staleIfError = time.Duration(r.number())
	e.noCache = r.flag()
	e.neverStale = r.flag()
	e.admits = class(r.number())
	r.bytes(e.stamp.log[:])
	e.stamp.epoch = uint64(r.number())
	for n := r.count(len(tag{})); n > 0; n-- {
		var t tag
		r.bytes(t[:])
		e.tags = append(e.tags, t)
	}
	for n := r.count(3); n > 0; n-- {
		e.vary = append(e.vary, selector{name: r.text(), value: r.text(), present: r.flag()})
	}
	e.header = make(http.Header)
	for n := r.count(2); n > 0; n-- {
		name := r.text()
		var values []string
		for m := r.count(1); m > 0; m-- {
			values = append(values, r.text())
		}
		if !validField(name, values) {
			return nil, errCorrupt
		}
		e.header[name] = values
	}
	e.bodyID = r.text()
	e.body.size = r.number()
	if r.failed || len(r.b) > 0 || e.status < 200 || e.status > 599 || !isBodyID(e.bodyID) || e.source > lifetimeHeuristic ||
		e.body.size < 0 || e.body.size > maxStoredBody || e.received.UnixMilli() < 0 || e.received.UnixMilli() >= 1e13 {
		return nil, errCorrupt
	}
	for _, d := range []time.Duration{e.lifetime, e.initialAge, e.staleIfError, e.staleWhileRevalidate} {
		if d < 0 || d > 2*maxDelta {
			return nil, errCorrupt
		}
	}
	e.variant = variantOf(e.vary)
	e.setValidators(e.received)
	return e, nil
}

// maxStoredBody is more than any body has that is stored: its chunks are counted
// in six digits (see blobPrefix).
const maxStoredBody = 999_999 * redisChunk

// validField refuses what would split a response.
func validField(name string, values []string) bool {
	if !isToken(name) || len(values) == 0 {
		return false
	}
	for _, v := range values {
		for i := 0; i < len(v); i++ {
			if v[i] == '\r' || v[i] == '\n' || v[i] == 0 {
				return false
			}
		}
	}
	return true
}

func isBodyID(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isHex(s[i]) {
			return false
		}
	}
	return len(s) == 32
}

type encoder struct{ b []byte }

func (w *encoder) number(n int64)   { w.b = binary.AppendVarint(w.b, n) }
func (w *encoder) time(t time.Time) { w.number(t.UnixMicro()) }
func (w *encoder) text(s string)    { w.b = append(binary.AppendUvarint(w.b, uint64(len(s))), s...) }
func (w *encoder) flag(f bool) {
	if f {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
}

// decoder reads until something does not fit; from then on it gives zeros.
type decoder struct {
	b      []byte
	failed bool
}

func (r *decoder) fail() {
	r.failed, r.b = true, nil
}

func (r *decoder) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *decoder) flag() bool {
	c := r.byte()
	if c > 1 {
		r.fail()
	}
	return c == 1
}

func (r *decoder) number() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *decoder) time() time.Time { return time.UnixMicro(r.number()).UTC() }

func (r *decoder) text() string {
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n > uint64(len(r.b)-size) {
		r.fail()
		return ""
	}
	s := string(r.b[size : size+int(n)])
	r.b = r.b[size+int(n):]
	return s
}

func (r *decoder) bytes(into []byte) {
	if len(r.b) < len(into) {
		r.fail()
		return
	}
	copy(into, r.b)
	r.b = r.b[len(into):]
}

// count reads how many things follow, each at least size bytes long.
func (r *decoder) count(size int) int {
	n := r.number()
	if n < 0 || n > int64(len(r.b)/size) {
		r.fail()
		return 0
	}
	return int(n)
}
