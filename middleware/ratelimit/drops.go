package ratelimit

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/headgate/headgate/internal/seldom"
)

// drops tells the operator of counters and bans that this process has dropped for want of
// memory while they still counted. It is safe for concurrent use.
type drops struct {
	observer Observer
	log      *slog.Logger
	note     func(limit string) // counts one; it may be called under a lock
	last     atomic.Pointer[string]
	line     seldom.Line
}

func newDrops(o Observer, log *slog.Logger) *drops {
	d := &drops{observer: o, log: log}
	d.note = func(limit string) {
		d.observer.Dropped(limit)
		if d.last.Load() == nil {
			name := limit
			d.last.Store(&name)
		}
	}
	return d
}

// report logs that something was dropped since the last report. It is called without a lock.
func (d *drops) report() {
	if d.last.Load() == nil {
		return
	}
	if limit := d.last.Swap(nil); limit != nil {
		d.line.Log(context.Background(), d.log, slog.LevelWarn, "the memory for counters of rate limits is used up: a counter was dropped that still counted, and its client starts afresh",
			"limit", *limit, "mend", "raise memory.counters")
	}
}
