package proxy

import (
	"log/slog"
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
