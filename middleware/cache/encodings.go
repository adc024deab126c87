package cache

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/compress"
)

// A stored body is what the origin sent. Where the responses of a route are compressed (a [compress.Writer] is before the
// client's), each coding that clients ask for is made once, off the requests' way: until a copy is there, hits are sent the
// body as it is. Copies are of this process; they are counted with their entry in the local tier, and go with it.

// encodings are the copies of one body in other codings. Entries with the same body share them. It is safe for concurrent use.
type encodings struct {
	made  [httpx.Codings]atomic.Pointer[body]
	begun atomic.Uint32 // a bit for each coding, and, above those, for each that is made by the best level
	hits  atomic.Uint32 // that were sent a copy, until the best is begun
}

const (
	// maxEncodings bounds the copies that wait to be made.
	maxEncodings = 64

	// A body is encoded once more by the best level, which takes seconds for each MiB, when that many hits were sent a copy and the
	// entry has been stored for bestAfter, if it stays fresh for as long again.
	bestHits  = 100
	bestAfter = 10 * time.Second
)

// weight is what the copies take of the local tier's bytes.
func (s *encodings) weight() (n int64) {
	if s == nil {
		return 0
	}
	for i := range s.made {
		if b := s.made[i].Load(); b != nil {
			for _, c := range b.chunks {
				n += int64(cap(c)) + 24
			}
		}
	}
	return n
}

// codings returns the entry's copies.
func (e *entry) codings() *encodings {
	if s := e.encoded.Load(); s != nil {
		return s
	}
	e.encoded.CompareAndSwap(nil, new(encodings))
	return e.encoded.Load()
}

// inCoding returns the body to send in the place of the entry's, if the client has it in a coding: nil where it does not, or
// where there is no copy yet. The response's head has been set and not written.
func (x *request) inCoding(e *entry) *body {
	res := x.c.Response()
	w := compress.Of(res.Writer)
	if w == nil {
		return nil
	}
	coding := w.Wants(e.Status, res.Header())
	if coding == httpx.Identity {
		return nil
	}
	s := e.codings()
	b := s.made[coding].Load()
	if b == nil {
		x.encode(s, e, coding, compress.Stored, w.Encoders())
		w.SendIdentity()
		return nil
	}
	w.SendEncoded(coding, b.size, e.body.size)
	if x.staysHot(s, e, coding) {
		x.encode(s, e, coding, compress.Best, w.Encoders())
	}
	return b
}

func beginBit(c httpx.Coding, l compress.Level) uint32 {
	if l == compress.Best {
		c += httpx.Coding(httpx.Codings)
	}
	return 1 << c
}

func (x *request) staysHot(s *encodings, e *entry, c httpx.Coding) bool {
	return s.begun.Load()&beginBit(c, compress.Best) == 0 && compress.IsBest(e.body.size) && s.hits.Add(1) > bestHits &&
		x.now.Sub(e.Received) >= bestAfter && e.FreshFor(x.now) >= bestAfter
}

// encode begins to make a copy, unless it has been begun or too many wait.
func (x *request) encode(s *encodings, e *entry, coding httpx.Coding, l compress.Level, encoders *compress.Encoders) {
	c, bit := x.cache, beginBit(coding, l)
	if s.begun.Load()&bit != 0 || c.encodings.waiting.Load() >= maxEncodings || s.begun.Or(bit)&bit != 0 {
		return
	}
	c.encodings.waiting.Add(1)
	rule, hash, source := x.route.rule.Name, x.hash, e.body
	begun := c.spawn(func() {
		defer c.encodings.waiting.Add(-1)
		if !c.encodings.turn(c.alive.Done()) {
			return
		}
		defer c.encodings.next()
		if !c.makeCopy(rule, hash, s, &source, coding, l, encoders) {
			s.begun.And(^bit) // for want of memory: a later hit tries again
		}
	})
	if !begun {
		c.encodings.waiting.Add(-1)
	}
}

// makeCopy encodes a body, and keeps that with its entry, if it is shorter and the entry is still there.
func (c *Cache) makeCopy(rule string, hash keyHash, s *encodings, source *body, coding httpx.Coding, l compress.Level, encoders *compress.Encoders) bool {
	if !c.filling.Take(source.size) {
		return false
	}
	defer c.filling.Give(source.size)
	chunks, size, ok := encoders.Encode(coding, l, source.chunks)
	if !ok {
		return false
	}
	c.observer.Encoded(rule, coding.String(), source.size, size)
	if old := s.made[coding].Load(); chunks != nil && (old == nil || old.size > size) {
		c.local.addCopy(rule, hash, s, coding, &body{chunks, size})
	}
	return true
}

// encodingQueue has a few copies made at a time, so that requests keep the processors.
type encodingQueue struct {
	waiting atomic.Int64
	slots   chan struct{}
}

func newEncodingQueue(processors int) encodingQueue {
	return encodingQueue{slots: make(chan struct{}, max(1, processors/2))}
}

func (q *encodingQueue) turn(closed <-chan struct{}) bool {
	select {
	case q.slots <- struct{}{}:
		return true
	case <-closed:
		return false
	}
}

func (q *encodingQueue) next() { <-q.slots }

// addCopy publishes a copy, and counts it, if an entry with its body is still stored.
func (t *localTier) addCopy(rule string, hash keyHash, s *encodings, c httpx.Coding, b *body) {
	p := (*t.parts.Load())[rule]
	if p == nil {
		return
	}
	t.mayGrow(p)
	p.cache.ComputeIfPresent(hash, func(old *resource) (*resource, otter.ComputeOp) {
		if !slices.ContainsFunc(old.variants, func(e *entry) bool { return e.encoded.Load() == s }) {
			return old, otter.CancelOp
		}
		s.made[c].Store(b)
		return newResource(old.variants), otter.WriteOp
	})
	t.hasGrown(p)
}
