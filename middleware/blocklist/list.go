package blocklist

import (
	"errors"
	"log/slog"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/networks"
	"github.com/headgate/headgate/middleware/store"
)

// Options configures [New]. The zero value keeps blocks in this process.
type Options struct {
	// Redis holds the blocks, for all instances together. Nil means that they live in this process.
	Redis *store.Redis
	// Instance is what an Outcome calls this process. Empty means host and process ID.
	Instance string
	// Max bounds how many blocks there are at once. Zero means 100,000.
	Max int
	// Now is the clock of this process, for tests; nil means time.Now.
	Now func() time.Time
	// Logger is told what an operator should know. Nil means no log.
	Logger *slog.Logger
}

// defaultMax is what Options.Max is by default.
const defaultMax = 100_000

// Block is a network that is refused.
type Block struct {
	// Network, masked; IPv4-mapped networks are IPv4.
	Network netip.Prefix `json:"network"`
	// Reason and By say why and by whom, for operators: at most 256 bytes each.
	Reason string `json:"reason,omitempty"`
	By     string `json:"by,omitempty"`
	// Since is when the block began. Until is when it ends; the zero Time: it is permanent.
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"`
}

// List is the blocks in force. It is safe for concurrent use.
type List struct {
	o        Options
	base     time.Time
	instance string // names this process; no two live ones share one

	table atomic.Pointer[networks.Table[*held]]
	ahead atomic.Int64 // milliseconds by which Redis' clock is ahead of this process'

	mu      sync.Mutex // over all that follows, and over round trips that change it
	blocks  map[netip.Prefix]*held
	at      position
	synced  time.Time // when Redis last told what has changed
	unbuilt bool      // blocks have changed since the table was built
	follows bool      // Follow runs: this instance is one of those that a change waits for
}

// held is a block as the table has it. It does not change.
type held struct {
	since, end int64 // milliseconds of Redis' clock; forever: permanent
	reason, by string
}

const forever = math.MaxInt64

// New returns a List. It does not ask Redis: [List.Ready] and [List.Follow] do.
func New(o Options) (*List, error) {
	if o.Max < 0 {
		return nil, errors.New("blocklist.New: Max must not be negative; 0 means 100,000")
	}
	if o.Max == 0 {
		o.Max = defaultMax
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := &List{o: o, base: o.Now(), instance: nameOf(o.Instance), blocks: map[netip.Prefix]*held{}}
	l.table.Store(new(networks.Table[*held]))
	return l, nil
}

// Find returns the network that blocks an address; false if none does. It is cheap enough for every
// request.
func (l *List) Find(addr netip.Addr) (netip.Prefix, bool) {
	e := l.table.Load().Find(addr)
	if e == nil || e.Value.end != forever && e.Value.end <= l.clock() {
		return netip.Prefix{}, false
	}
	return e.Network, true
}

// clock is Redis' time in milliseconds, as far as this process knows it. It follows the monotonic
// clock, where Now has one.
func (l *List) clock() int64 {
	return l.base.UnixMilli() + l.o.Now().Sub(l.base).Milliseconds() + l.ahead.Load()
}

// All returns the blocks in force, in the order of their networks.
func (l *List) All() []Block {
	now, all := l.clock(), []Block{}
	for _, e := range l.table.Load().Entries() {
		if e.Value.end > now {
			all = append(all, e.Value.block(e.Network))
		}
	}
	return all
}

// Len returns how many blocks are in force.
func (l *List) Len() (n int) {
	now := l.clock()
	for _, e := range l.table.Load().Entries() {
		if e.Value.end > now {
			n++
		}
	}
	return n
}

// Holding returns the blocks in force that hold the whole of a network, itself among them.
func (l *List) Holding(network netip.Prefix) (holding []Block) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock()
	for bits := network.Bits(); bits >= 0; bits-- {
		wider, _ := network.Addr().Prefix(bits)
		if h := l.blocks[wider]; h != nil && h.end > now {
			holding = append(holding, h.block(wider))
		}
	}
	return holding
}

// InRedis reports whether the blocks are kept in Redis, for all instances.
func (l *List) InRedis() bool { return l.o.Redis != nil }

func (h *held) block(network netip.Prefix) Block {
	b := Block{Network: network, Reason: h.reason, By: h.by, Since: time.UnixMilli(h.since).UTC()}
	if h.end != forever {
		b.Until = time.UnixMilli(h.end).UTC()
	}
	return b
}

// rebuild makes the table of the blocks. l.mu is held.
func (l *List) rebuild() {
	l.unbuilt = false
	now := l.clock()
	entries := make([]networks.Entry[*held], 0, len(l.blocks))
	for network, h := range l.blocks {
		if h.end <= now {
			delete(l.blocks, network)
			continue
		}
		entries = append(entries, networks.Entry[*held]{Network: network, Value: h})
	}
	// Of blocks within each other the one counts that lasts longest.
	l.table.Store(networks.New(entries, func(inner, outer *held) bool { return inner.end >= outer.end }))
}
