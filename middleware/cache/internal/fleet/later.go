package fleet

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/headgate/headgate/middleware/store"
)

// maxLater bounds the tags that wait for the next heartbeat.
const maxLater = 4096

// later are tags that no caller waits for: the heartbeat writes them to the log together, so that any number of requests
// between two of them costs Redis one call.
type later struct {
	mu   sync.Mutex
	tags map[Tag]struct{}
}

// PurgeLater has tags purged with the next heartbeat, and does not wait. It is false, and does nothing, where too many
// wait already.
func (m *Member) PurgeLater(tags []Tag) bool {
	m.later.mu.Lock()
	defer m.later.mu.Unlock()
	if len(m.later.tags)+len(tags) > maxLater {
		return false
	}
	if m.later.tags == nil {
		m.later.tags = make(map[Tag]struct{})
	}
	for _, t := range tags {
		m.later.tags[t] = struct{}{}
	}
	return true
}

// writeLater writes what PurgeLater was given. What Redis does not take waits for the next heartbeat.
func (m *Member) writeLater(ctx context.Context) {
	m.later.mu.Lock()
	tags := slices.Collect(maps.Keys(m.later.tags))
	m.later.tags = nil
	m.later.mu.Unlock()
	if len(tags) == 0 {
		return
	}
	if _, _, err := m.write(store.Writing(ctx), tags, false); err != nil && !m.PurgeLater(tags) {
		m.View.hold(tags, false)
	}
}

// lastWrite bounds how long a process that ends waits for Redis to take what PurgeLater was given.
const lastWrite = time.Second

func (m *Member) writeLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
	defer cancel()
	m.writeLater(ctx)
}
