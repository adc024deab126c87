package proxy

import (
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/middleware/proxy/internal/spool"
)

// Buffers is where bodies lie that are read ahead of a slow client: in memory,
// which all upstreams that are given the same Buffers share, and in files without a
// name. It is safe for concurrent use.
type Buffers struct {
	memory *spool.Memory
	folder string
}

// DefaultBuffers is the memory of an upstream that is given no Buffers.
const DefaultBuffers = 256 << 20

// NewBuffers returns Buffers of so many bytes of memory, which puts its files into
// the folder. An empty one is the system's temporary folder.
func NewBuffers(memory int64, folder string) *Buffers {
	return &Buffers{memory: spool.NewMemory(memory), folder: folder}
}

// SetLimit changes the bytes of memory. Bodies that hold more keep it until they end.
func (b *Buffers) SetLimit(memory int64) { b.memory.SetLimit(memory) }

// Used is how many bytes of memory are in use.
func (b *Buffers) Used() int64 { return b.memory.Used() }

// newDisk makes the upstream's share of the folder.
func (b *Buffers) newDisk(log *slog.Logger) *spool.Disk {
	var warned atomic.Int64
	return spool.NewDisk(b.folder, 0, func(err error) {
		now := time.Now().UnixNano()
		if last := warned.Load(); now-last < int64(time.Minute) || !warned.CompareAndSwap(last, now) {
			return
		}
		log.Warn("a body can't be kept in a file, and streams at the client's pace", "err", err)
	})
}

// bodyOptions are the bounds of one body.
func (tx *transaction) bodyOptions(inMemory, length int64) spool.Options {
	o := spool.Options{Memory: tx.up.options.Buffers.memory, InMemory: inMemory, Length: length}
	if tx.pool.cfg.Buffer.Spool > 0 {
		o.Disk = tx.up.disk
	}
	return o
}

// readsRequestAhead reports whether the request's body is read before a server is
// chosen.
func (tx *transaction) readsRequestAhead() bool {
	h := tx.in.Header
	return tx.body.source != nil && tx.body.source != http.NoBody && tx.pool.cfg.Buffer.Requests > 0 && !tx.route.Unbuffered &&
		h["Expect"] == nil && h["Upgrade"] == nil && !isGRPC(h)
}

// readRequest reads the request's body, so that a slow client does not hold a
// server's connection. What there is no room for streams.
func (tx *transaction) readRequest() *Error {
	if !tx.readsRequestAhead() {
		return nil
	}
	b := &tx.body
	if length := tx.in.ContentLength; length > 0 && length <= min(maxAhead, tx.pool.cfg.Buffer.Requests) && tx.up.options.Buffers.memory.Reserve(copyBuffer) {
		if err := b.readShort(); err != nil {
			kind, status := classifyRequestBody(err)
			return tx.newError(kind, status, err)
		}
		return nil
	}
	b.spooled = spool.NewBody(b.source, tx.bodyOptions(tx.pool.cfg.Buffer.Requests, tx.in.ContentLength))
	b.source = b.spooled
	if err := b.spooled.Fill(); err != nil {
		b.done.Store(true)
		b.broken.Store(&err)
		kind, status := classifyRequestBody(err)
		return tx.newError(kind, status, err)
	}
	if err := tx.in.Context().Err(); err != nil {
		kind, status := classifyContext(err)
		return tx.newError(kind, status, err)
	}
	return nil
}

// readsAnswerAhead reports whether a response's body is read ahead of a slow client.
// One of up to smallAnswer bytes fits into the connections' own buffers.
func (tx *transaction) readsAnswerAhead(res *http.Response) bool {
	return tx.pool.cfg.Buffer.Answers > 0 && !tx.route.Unbuffered && tx.held.buf == nil &&
		(res.ContentLength < 0 || res.ContentLength > smallAnswer) &&
		!strings.EqualFold(res.Header.Get("X-Accel-Buffering"), "no") &&
		!isEventStream(res.Header) && !isGRPC(res.Header)
}

const smallAnswer = 16 << 10

// readAnswer makes a response's body one that is read ahead while the client is slow.
func (tx *transaction) readAnswer(res *http.Response) {
	a := tx.current
	o := tx.bodyOptions(tx.pool.cfg.Buffer.Answers, res.ContentLength)
	o.WhenSlow = true
	o.Ended = func(error) { a.leave() }
	o.Interrupt = a.interrupt
	tx.answer = spool.NewBody(res.Body, o)
}

// isGRPC reports whether a message is gRPC's. Both sides may wait for each other in
// the middle of one.
func isGRPC(h http.Header) bool {
	types := h["Content-Type"]
	return len(types) > 0 && strings.HasPrefix(strings.ToLower(types[0]), "application/grpc")
}

// isEventStream reports whether a response is a stream of server-sent events.
func isEventStream(h http.Header) bool {
	types := h["Content-Type"]
	if len(types) == 0 || !strings.Contains(strings.ToLower(types[0]), "event-stream") {
		return false
	}
	base, _, _ := mime.ParseMediaType(types[0])
	return base == "text/event-stream"
}
