package cache

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/middleware/cache/internal/fleet"
	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// entry is one stored response with its body and what purges it. It is
// immutable but for what is remembered of checks.
type entry struct {
	rfc9111.Response

	keyText string
	tags    []tag
	stamp   fleet.Stamp // the position in the purge log from before the fetch began

	body   body
	bodyID string // names the chunks in Redis; empty if it is not there

	checked fleet.Checked
	owned   owned
	encoded atomic.Pointer[encodings] // copies of the body; nil until a client asks for one
}

// body is a stored body in pieces. The pieces are never changed.
type body struct {
	chunks [][]byte
	size   int64
}

// loaded reports whether the body is here, and not in Redis alone.
func (b *body) loaded() bool { return b.size == 0 || len(b.chunks) > 0 }

// entryBytes is what an entry takes besides what it points to, with the bookkeeping of the
// local tier and of otter.
const entryBytes = 768

// weight is what the entry takes of the local tier's bytes, near enough.
func (e *entry) weight() int64 {
	n := int64(entryBytes) + int64(len(e.keyText)) + int64(len(e.tags))*16
	for name, values := range e.Header {
		n += int64(len(name)) + 64
		for _, v := range values {
			n += int64(len(v)) + 16
		}
	}
	for i := range e.Vary {
		n += int64(len(e.Vary[i].Name)+len(e.Vary[i].Value)+len(e.Vary[i].Raw)) + 56
	}
	for _, c := range e.body.chunks {
		n += int64(cap(c)) + 24
	}
	return n + e.encoded.Load().weight()
}

// clone copies an entry to be changed before it is shared. The header is the
// clone's own; the body and the rest are common.
func (e *entry) clone() *entry {
	c := &entry{Response: e.Response, keyText: e.keyText, tags: e.tags, stamp: e.stamp, body: e.body, bodyID: e.bodyID}
	c.Header = e.Header.Clone()
	c.owned.by(e.owned.owner())
	c.encoded.Store(e.encoded.Load())
	return c
}

// withBody completes an entry with its body.
func (e *entry) withBody(b body) *entry {
	full := e.clone()
	full.body = b
	full.encoded.Store(nil)
	if e.Status != http.StatusNoContent {
		full.Header["Content-Length"] = []string{strconv.FormatInt(b.size, 10)}
	}
	return full
}

// validity is what purges have done to an entry.
func (c *Cache) validity(e *entry) fleet.Validity { return c.purges.Check(e.stamp, e.tags, &e.checked) }

// choose finds the stored response for a request, RFC 9111 section 4: of those
// that it selects and may have, the most recent one. others says that something
// is stored, though not for this request.
func (c *Cache) choose(variants []*entry, q *rfc9111.Request, now time.Time) (e *entry, v rfc9111.Verdict, others bool) {
	for _, candidate := range variants {
		valid := c.validity(candidate)
		if valid == fleet.Void || !candidate.KeepUntil().After(now) {
			continue
		}
		if !candidate.SelectedBy(q) {
			others = true
			continue
		}
		// Of two of the same date the one that needs less is as recent.
		if judged := candidate.Judge(q, now, valid == fleet.Softened); e == nil || (judged > v && candidate.Date.Equal(e.Date)) {
			e, v = candidate, judged
		}
	}
	return e, v, others || e != nil
}
