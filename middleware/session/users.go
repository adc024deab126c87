package session

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/headgate/headgate/middleware/store"
)

// A user's sessions are listed in an index. In a Cluster it lies in another
// slot than they do, so the two can't change in one step; the order makes that
// safe:
//
//   - login stores the session, then its index entry, then shows the client the
//     token. A session without an entry is one that no client has the token of.
//   - an entry whose session is gone, be it expired, is stale for ever, because
//     handles never come back. The next reader of the index removes it.
//   - the index expires with the session that could live longest, and each
//     touch enters the session again, should the index have been lost.
//
// Logout everywhere thus removes what the index names: at most
// Settings.MaxPerUser sessions and those in between, without a second key in
// every request.

// List returns a user's live sessions, newest first.
func (m *Manager) List(ctx context.Context, user string) ([]Info, error) {
	handles, err := m.backend.indexed(ctx, user)
	if err != nil || len(handles) == 0 {
		return nil, err
	}
	sessions, err := m.existing(ctx, user, handles)
	if err != nil {
		return nil, err
	}
	infos := make([]Info, 0, len(sessions))
	for _, s := range slices.Backward(sessions) {
		infos = append(infos, infoOf(s.handle, s.record))
	}
	return infos, nil
}

// Revoke ends the session with this reference, from the next request on, on
// every instance. It reports whether there was one.
func (m *Manager) Revoke(ctx context.Context, ref string) (bool, error) {
	handle, ok := parseHandle(ref)
	if !ok {
		return false, nil
	}
	ctx = store.Writing(ctx)
	r, err := m.read(ctx, handle)
	if err != nil || r == nil {
		return false, err
	}
	return true, m.end(ctx, r.User, handle)
}

// RevokeUser ends all sessions of a user, from the next request on, on every
// instance, and returns how many there were.
func (m *Manager) RevokeUser(ctx context.Context, user string) (int, error) {
	return m.revokeBut(store.Writing(ctx), user, "")
}

// revokeBut ends all sessions of a user but one.
func (m *Manager) revokeBut(ctx context.Context, user, kept string) (int, error) {
	handles, err := m.backend.indexed(ctx, user)
	if err != nil {
		return 0, err
	}
	handles = without(handles, kept)
	if len(handles) == 0 {
		return 0, nil
	}
	live, err := m.existing(ctx, user, handles)
	if err != nil {
		return 0, err
	}
	// All that the index names, not only what these Settings call live: an
	// instance that has not reloaded yet may have longer timeouts.
	return len(live), m.end(ctx, user, handles...)
}

// end removes sessions and then their index entries: in the other order a
// failure in between would leave a session that no list shows.
func (m *Manager) end(ctx context.Context, user string, handles ...string) error {
	if err := m.backend.remove(ctx, handles...); err != nil {
		return err
	}
	if user == "" {
		return nil
	}
	return m.backend.unindex(ctx, user, handles...)
}

// admit enters a new session into its user's index and ends the oldest ones
// where there are now too many.
func (m *Manager) admit(ctx context.Context, handle string, r *record) error {
	handles, err := m.enter(ctx, handle, r)
	if err != nil || len(handles) <= m.set.MaxPerUser {
		return err
	}
	sessions, err := m.existing(ctx, r.User, handles)
	if err != nil {
		return err
	}
	// A session that a login has replaced is about to end by itself.
	sessions = slices.DeleteFunc(sessions, func(s stored) bool {
		return s.record.Ends != 0 || s.handle == handle || s.handle == r.Replaces
	})
	excess := len(sessions) + 1 - m.set.MaxPerUser
	if excess <= 0 {
		return nil
	}
	oldest := make([]string, 0, excess)
	for _, s := range sessions[:excess] {
		oldest = append(oldest, s.handle)
	}
	return m.end(ctx, r.User, oldest...)
}

// enter puts a session into its user's index, or keeps it there, and returns
// the index.
func (m *Manager) enter(ctx context.Context, handle string, r *record) ([]string, error) {
	created := time.UnixMilli(r.Created)
	left := m.set.AbsoluteTimeout - since(m.now().UnixMilli(), r.Created)
	return m.backend.index(ctx, r.User, handle, created, max(left, time.Millisecond))
}

type stored struct {
	handle string
	record *record
}

// existing returns the live ones of the sessions that an index names, oldest
// first, and removes from it those that are gone.
func (m *Manager) existing(ctx context.Context, user string, handles []string) ([]stored, error) {
	texts, err := m.backend.fetch(nil, handles...).done(ctx)
	if err != nil {
		return nil, err
	}
	var sessions []stored
	var stale []string
	now := m.now()
	for i, text := range texts {
		if text == nil {
			stale = append(stale, handles[i])
			continue
		}
		r, err := decodeRecord(text)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if r.User == user && r.live(now, &m.set) {
			sessions = append(sessions, stored{handles[i], r})
		}
	}
	slices.SortStableFunc(sessions, func(a, b stored) int {
		return cmp.Compare(a.record.Created, b.record.Created)
	})
	return sessions, m.backend.unindex(ctx, user, stale...)
}
