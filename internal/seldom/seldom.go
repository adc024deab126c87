// Package seldom writes what may happen to every request to the log once a second at most.
package seldom

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// every is how often a Line is written at most.
const every = time.Second

// epoch is what a Line's times are counted from, by the monotonic clock.
var epoch = time.Now().Add(-2 * every)

// Line is one kind of line in the log, which any request may cause. The zero Line is ready
// for use. It is safe for concurrent use.
type Line struct {
	last    atomic.Int64 // when it was written last, since epoch
	leftOut atomic.Int64 // since then
}

// Log writes the line, unless it was written within the last second. A line that comes after
// others were left out says how many, as left_out.
func (l *Line) Log(ctx context.Context, log *slog.Logger, level slog.Level, message string, args ...any) {
	if !log.Enabled(ctx, level) {
		return
	}
	now, last := int64(time.Since(epoch)), l.last.Load()
	if now-last < int64(every) || !l.last.CompareAndSwap(last, now) {
		l.leftOut.Add(1)
		return
	}
	if n := l.leftOut.Swap(0); n > 0 {
		args = append(args, "left_out", n)
	}
	log.Log(ctx, level, message, args...)
}
