package cache

import (
	"encoding/binary"
	"errors"
	"net/http"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// An entry's metadata in Redis: a version, then fields of fixed order, each
// number a varint and each text length-prefixed. It is read back as if anyone
// could have written it.

const codecVersion = 2

var errCorrupt = errors.New("cache: stored metadata cannot be read")

func encodeEntry(e *entry) []byte {
	w := encoder{make([]byte, 0, 1024)}
	w.b = append(w.b, codecVersion)
	w.text(e.keyText)
	w.number(int64(e.Status))
	w.time(e.Date)
	w.time(e.Received)
	w.number(int64(e.InitialAge))
	w.number(int64(e.Lifetime))
	w.number(int64(e.Source))
	w.number(int64(e.Stale.WhileRevalidate))
	w.number(int64(e.Stale.IfError))
	w.flag(e.NoCache)
	w.flag(e.NeverStale)
	w.number(int64(e.Admits))
	w.b = append(w.b, e.stamp.Log[:]...)
	w.number(int64(e.stamp.Epoch))
	w.number(int64(len(e.tags)))
	for i := range e.tags {
		w.b = append(w.b, e.tags[i][:]...)
	}
	w.number(int64(len(e.Vary)))
	for i := range e.Vary {
		w.text(e.Vary[i].Name)
		w.text(e.Vary[i].Value)
		w.flag(e.Vary[i].Present)
	}
	w.number(int64(len(e.Header)))
	for name, values := range e.Header {
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
	e.Status = int(r.number())
	e.Date = r.time()
	e.Received = r.time()
	e.InitialAge = time.Duration(r.number())
	e.Lifetime = time.Duration(r.number())
	e.Source = rfc9111.LifetimeSource(r.number())
	e.Stale.WhileRevalidate = time.Duration(r.number())
	e.Stale.IfError = time.Duration(r.number())
	e.NoCache = r.flag()
	e.NeverStale = r.flag()
	e.Admits = rfc9111.Class(r.number())
	r.bytes(e.stamp.Log[:])
	e.stamp.Epoch = uint64(r.number())
	for n := r.count(len(tag{})); n > 0; n-- {
		var t tag
		r.bytes(t[:])
		e.tags = append(e.tags, t)
	}
	for n := r.count(3); n > 0; n-- {
		e.Vary = append(e.Vary, rfc9111.Selector{Name: r.text(), Value: r.text(), Present: r.flag()})
	}
	e.Header = make(http.Header)
	for n := r.count(2); n > 0; n-- {
		name := r.text()
		var values []string
		for m := r.count(1); m > 0; m-- {
			values = append(values, r.text())
		}
		if !validField(name, values) {
			return nil, errCorrupt
		}
		e.Header[name] = values
	}
	e.bodyID = r.text()
	e.body.size = r.number()
	if r.failed || len(r.b) > 0 || e.Status < 200 || e.Status > 599 || !isBodyID(e.bodyID) || e.Source > rfc9111.LifetimeHeuristic ||
		e.body.size < 0 || e.body.size > maxStoredBody || e.Received.UnixMilli() < 0 || e.Received.UnixMilli() >= 1e13 {
		return nil, errCorrupt
	}
	for _, d := range []time.Duration{e.Lifetime, e.InitialAge, e.Stale.IfError, e.Stale.WhileRevalidate} {
		if d < 0 || d > 2*rfc9111.MaxDelta {
			return nil, errCorrupt
		}
	}
	e.Variant = rfc9111.VariantOf(e.Vary)
	e.SetValidators(e.Received)
	return e, nil
}

// maxStoredBody is more than any body has that is stored: its chunks are counted
// in six digits (see blobPrefix).
const maxStoredBody = 999_999 * redisChunk

// validField refuses what would split a response.
func validField(name string, values []string) bool {
	if !httpx.IsToken(name) || len(values) == 0 {
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
		if _, ok := httpx.Unhex(s[i]); !ok {
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
