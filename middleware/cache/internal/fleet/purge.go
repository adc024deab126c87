package fleet

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/headgate/headgate/middleware/store"
)

// maxLog bounds the tags in the log; purging more moves its floor, and voids
// what is older.
const maxLog = 1 << 16

// Purge writes tags to the log and waits until they are in force on every
// instance. After an error they are in force on this one, and are written again
// until the log has them.
func (m *Member) Purge(ctx context.Context, tags []Tag, soft bool) error {
	ctx = store.Writing(ctx)
	at, unsure, err := m.write(ctx, tags, soft)
	if err != nil {
		m.View.hold(tags, soft)
		return fmt.Errorf("cache: the purge is not in the log yet, and will be repeated: %w", err)
	}
	if err := m.Sync(ctx); err != nil {
		m.View.hold(tags, soft)
		return fmt.Errorf("cache: the purge is in the log, but not known to be in force: %w", err)
	}
	if unsure {
		// The list of live instances may be gone. An instance that had a
		// lease has it for no longer than this.
		if err := sleep(ctx, tierLease); err != nil {
			return err
		}
	}
	return m.awaitAcknowledgements(ctx, at)
}

// write adds purges to the log, in pieces: an epoch that fills a page of the
// log could never be read past.
func (m *Member) write(ctx context.Context, tags []Tag, soft bool) (at Stamp, unsure bool, err error) {
	for piece := range slices.Chunk(tags, logPage/4) {
		var lost bool
		if at, lost, err = m.writePiece(ctx, piece, soft); err != nil {
			return at, false, err
		}
		unsure = unsure || lost
	}
	return at, unsure, nil
}

func (m *Member) writePiece(ctx context.Context, tags []Tag, soft bool) (at Stamp, unsure bool, err error) {
	known, kind := m.View.Now(), "h"
	if soft {
		kind = "s"
	}
	args := []any{known.Log.text(), known.Epoch, NewToken(), m.Instance, m.purgeChannel(), kind, maxLog}
	for i := range tags {
		args = append(args, tags[i][:])
	}
	call := purgeScript.Call(m.logKeys(), args...)
	if err := m.Redis.Do(ctx, call); err != nil {
		return at, false, err
	}
	reply, err := call.Slice()
	if err != nil {
		return at, false, err
	}
	if len(reply) != 3 {
		return at, false, errLogReply
	}
	id, _ := reply[0].(string)
	epoch, _ := reply[1].(int64)
	lost, told := reply[2].(int64)
	if !told || !at.Log.parse(id) || epoch <= 0 {
		return at, false, errLogReply
	}
	at.Epoch = uint64(epoch)
	return at, lost != 0, nil
}

// awaitAcknowledgements returns when every instance has acknowledged a position
// in the log, or its lease has ended.
func (m *Member) awaitAcknowledgements(ctx context.Context, at Stamp) error {
	presence := store.Presence{Redis: m.Redis, Key: m.logKeys()[2]}
	pause := time.Millisecond
	for {
		behind, err := presence.Behind(ctx, at.Log.text(), at.Epoch, 0)
		if err != nil {
			return fmt.Errorf("cache: the purge is in the log, but not known to be in force everywhere: %w", err)
		}
		var left time.Duration
		for _, b := range behind {
			left = max(left, b.Left)
		}
		if left == 0 {
			return nil
		}
		if err := sleep(ctx, min(pause, left)); err != nil {
			return fmt.Errorf("cache: the purge is in the log, but not known to be in force everywhere: %w", err)
		}
		pause = min(2*pause, 50*time.Millisecond)
	}
}

// writeHeld repeats the purges that Redis did not take.
func (m *Member) writeHeld(ctx context.Context) {
	hard, soft, until := m.View.held()
	if len(hard)+len(soft) == 0 {
		return
	}
	for kind, tags := range [][]Tag{hard, soft} {
		if len(tags) == 0 {
			continue
		}
		if _, _, err := m.write(ctx, tags, kind == 1); err != nil {
			return
		}
	}
	if m.Sync(ctx) == nil {
		m.View.release(until)
		m.Logger.Info("cache: purges that had to wait for Redis are in its log now", "tags", len(hard)+len(soft))
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
