package session

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/headgate/headgate/middleware/store"
)

// Open streams end with their sessions because each instance looks for these once a second. A
// session that has ended, be it by a logout, by an operator or by its timeouts, is one whose
// record is gone, so that its existence is all that has to be asked: one command for
// hundreds of sessions. No message has to arrive, and no instance has to know of another one.

const (
	// lookEvery is how often the sessions of open streams are looked for; more often where
	// they are idle after a few seconds, which use must come before.
	lookEvery = time.Second
	leastLook = 50 * time.Millisecond

	// How many sessions one round trip asks about, and how many it reads or writes.
	askedAtOnce   = 512
	handledAtOnce = 64
)

// lookAfterStreams runs while there are open streams.
func (sh *shared) lookAfterStreams() {
	ctx := context.Background()
	for {
		m := sh.governing.Load()
		time.Sleep(max(min(lookEvery, m.set.IdleTimeout/4), leastLook))
		all := sh.streams.all()
		if all == nil {
			return
		}
		if err := m.lookAt(ctx, all); err != nil {
			sh.lines.notLookedUp.Log(ctx, sh.log, slog.LevelWarn,
				"the sessions of open WebSockets and streams can't be looked up; these stay open meanwhile", "error", err)
		}
	}
}

// lookAt ends the streams whose sessions have ended, and writes which sessions have been
// used. A session that exists is read where it should have ended, by what is known here of its
// last use: it may have been used at another instance.
func (m *Manager) lookAt(ctx context.Context, all []*followed) error {
	live, err := m.endGone(ctx, all)
	if err != nil {
		return err
	}
	var overdue, used []*followed
	now := m.now()
	for _, f := range live {
		r := m.streams.known(f)
		switch {
		case m.set.remaining(r, now) <= 0:
			overdue = append(overdue, f)
		case f.used && m.touchDue(r, now):
			used = append(used, f)
		default:
			f.used = false // it was noted as used a moment ago
		}
	}
	for chunk := range slices.Chunk(overdue, handledAtOnce) {
		if err := m.readAgain(ctx, chunk); err != nil {
			return err
		}
	}
	for chunk := range slices.Chunk(used, handledAtOnce) {
		if err := m.touchAll(store.Writing(ctx), chunk); err != nil {
			return err
		}
	}
	return nil
}

// endGone ends the streams of the sessions that do not exist any more, and returns the others.
func (m *Manager) endGone(ctx context.Context, all []*followed) (live []*followed, err error) {
	for chunk := range slices.Chunk(all, askedAtOnce) {
		handles := make([]string, len(chunk))
		for i, f := range chunk {
			handles[i] = f.handle
		}
		gone, err := m.backend.gone(ctx, handles)
		if err != nil {
			return nil, err
		}
		for i, f := range chunk {
			if gone[i] {
				m.streams.end(f)
			} else {
				live = append(live, f)
			}
		}
	}
	return live, nil
}

// readAgain reads sessions, and ends the streams of those that are not live.
func (m *Manager) readAgain(ctx context.Context, some []*followed) error {
	t := m.backend.trip()
	texts := make([]*[]byte, len(some))
	for i, f := range some {
		texts[i] = t.get(f.handle)
	}
	if err := t.send(ctx); err != nil {
		return err
	}
	for i, f := range some {
		switch r, err := m.liveRecord(*texts[i]); {
		case err != nil:
			return err
		case r == nil:
			m.streams.end(f)
		default:
			m.streams.learn(f, r)
		}
	}
	return nil
}

// touchAll notes that sessions have been used. Where another request has changed a session, it is
// looked at again a second later.
func (m *Manager) touchAll(ctx context.Context, some []*followed) error {
	t, now := m.backend.trip(), m.now()
	touched := make([]*record, len(some))
	results := make([]*swapped, len(some))
	for i, f := range some {
		before := m.streams.known(f)
		r := before.clone()
		r.Seen = now.UnixMilli()
		r.Revision++
		text, err := r.encode()
		if err != nil {
			return err
		}
		results[i] = t.swap(f.handle, before.head(), text, max(m.set.remaining(r, now).Truncate(time.Millisecond), time.Millisecond))
		if touched[i] = r; r.User != "" {
			m.enter(t, f.handle, r)
		}
	}
	if err := t.send(ctx); err != nil {
		return err
	}
	var errs []error
	gone := m.backend.trip()
	for i, f := range some {
		switch result := results[i]; {
		case result.ended:
			m.streams.end(f)
			if user := touched[i].User; user != "" {
				gone.leave(user, f.handle) // the touch has entered it again
			}
		case result.present == nil:
			m.streams.learn(f, touched[i])
			f.used = false
		default:
			r, err := decodeRecord(result.present)
			if err != nil {
				errs = append(errs, unavailable(err))
				continue
			}
			m.streams.learn(f, r)
		}
	}
	return errors.Join(append(errs, gone.send(ctx))...)
}
