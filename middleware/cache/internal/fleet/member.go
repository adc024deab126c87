package fleet

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/middleware/store"
)

// Options configures a [Member]. Every field but the poll intervals is required.
type Options struct {
	Redis    *store.Redis
	Logger   *slog.Logger
	View     *View
	Instance string        // names this process; two live ones must not share one
	Lease    time.Duration // how long a fetch is believed to be alive without a sign of life

	// MinPoll and MaxPoll bound the interval at which a flight looks again for
	// a lease that another instance holds, in case the message that wakes it
	// is lost. 0: 10 ms and 150 ms.
	MinPoll, MaxPoll time.Duration
}

// Member is this instance among those that share a Redis. It is safe for
// concurrent use.
type Member struct {
	Options

	started   time.Time
	leaseEnds atomic.Int64 // of the lease on the local tier, in nanoseconds since started
	syncing   sync.Mutex
	synced    atomic.Int64 // when the last successful Sync began, likewise

	waiting waiting
	later   later
}

// New makes a Member. Its Follow is to be run.
func New(o Options) *Member {
	if o.MinPoll == 0 {
		o.MinPoll = 10 * time.Millisecond
	}
	if o.MaxPoll == 0 {
		o.MaxPoll = 150 * time.Millisecond
	}
	return &Member{Options: o, started: time.Now(), waiting: waiting{turns: make(map[string][]chan struct{})}}
}

const (
	// tierLease is how long an instance may use its local tier after it has
	// last heard from the purge log.
	tierLease = time.Second
	heartbeat = tierLease / 4
)

// MayUseLocalTier reports whether this instance's lease on its local tier runs:
// it then has every purge that was confirmed to any client.
func (m *Member) MayUseLocalTier() bool {
	return int64(time.Since(m.started)) < m.leaseEnds.Load()
}

// Follow keeps the view of the purge log up to date until ctx ends.
func (m *Member) Follow(ctx context.Context) {
	purged := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.listen(ctx, purged)
	}()
	defer func() { <-done }()
	defer m.writeLast(ctx)
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	failing := false
	for {
		err := m.Sync(ctx)
		if err == nil {
			m.writeHeld(ctx)
		}
		if (err != nil) != failing && ctx.Err() == nil {
			failing = err != nil
			if failing {
				m.Logger.Warn("cache: the purge log cannot be followed; requests go to the origin until it can", "error", err)
			} else {
				m.Logger.Info("cache: the purge log is followed again")
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if !failing {
				m.writeLater(ctx)
			}
		case <-purged:
		}
	}
}

func (m *Member) purgeChannel() string { return m.Redis.Key("cache", "purged") }
func (m *Member) wakeChannel() string  { return m.Redis.Key("cache", "wake") }

// listen receives the messages about purges and ended leases. What it misses is
// found by heartbeats and by polling.
func (m *Member) listen(ctx context.Context, purged chan<- struct{}) {
	for ctx.Err() == nil {
		m.receive(ctx, purged)
	}
}

func (m *Member) receive(ctx context.Context, purged chan<- struct{}) {
	sub := m.Redis.Client().Subscribe(ctx, m.purgeChannel(), m.wakeChannel())
	defer func() { _ = sub.Close() }()
	messages := sub.Channel()
	for {
		select {
		case <-ctx.Done():
			return
		case message, ok := <-messages:
			if !ok {
				return
			}
			if message.Channel == m.wakeChannel() {
				m.waiting.wake(message.Payload)
				continue
			}
			select {
			case purged <- struct{}{}:
			default:
			}
		}
	}
}
