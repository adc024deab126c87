package session

import (
	"cmp"
	"context"
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
//   - an entry says when its session was created and last seen, and where it is valid, so
//     that a login knows without reading them which sessions are one too many.
//
// Logout everywhere thus removes what the index names for the host: at most
// Settings.MaxPerUser sessions and those in between, without a second key in
// every request. Operators see and end the sessions of all hosts: see [Manager.RevokeUser].
//
// A login is two round trips, and what orders them is what needs the reply of the first: see
// [RequestSession.login].

// List returns a user's live sessions at all hosts, newest first.
func (m *Manager) List(ctx context.Context, user string) ([]Info, error) {
	entries, err := m.indexed(ctx, user)
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	sessions, err := m.existing(ctx, user, entries)
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
	ctx = store.Replicated(ctx)
	r, err := m.read(ctx, handle)
	if err != nil || r == nil {
		return false, err
	}
	return true, m.end(ctx, r.User, handle)
}

// RevokeUser ends all sessions of a user at all hosts, from the next request on, on every
// instance, and returns how many there were.
func (m *Manager) RevokeUser(ctx context.Context, user string) (int, error) {
	ctx = store.Replicated(ctx)
	entries, err := m.indexed(ctx, user)
	if err != nil || len(entries) == 0 {
		return 0, err
	}
	live, err := m.existing(ctx, user, entries)
	if err != nil {
		return 0, err
	}
	// All that the index names, not only what these Settings call live: an
	// instance that has not reloaded yet may have longer timeouts.
	return len(live), m.end(ctx, user, handlesOf(entries)...)
}

// indexed returns what a user's index names.
func (m *Manager) indexed(ctx context.Context, user string) ([]entry, error) {
	t := m.backend.trip()
	entries := t.list(user)
	if err := t.send(ctx); err != nil {
		return nil, err
	}
	return *entries, nil
}

// owned is some sessions of one user; without a user they are anonymous.
type owned struct {
	user    string
	handles []string
}

// owned returns the session with this handle and record, and with it the one that it replaced or
// that replaced it: a login's two cookies are one session to the user.
func (r *record) owned(handle string) owned {
	o := owned{r.User, []string{handle}}
	for _, other := range []string{r.Replaces, r.Replaced} {
		if other != "" {
			o.handles = append(o.handles, other)
		}
	}
	return o
}

func ownedOf(sessions []opened) (all []owned) {
	for _, o := range sessions {
		all = append(all, o.record.owned(o.token.handle))
	}
	return all
}

// end removes sessions of one user.
func (m *Manager) end(ctx context.Context, user string, handles ...string) error {
	return m.endOwned(ctx, []owned{{user, handles}})
}

// endOwned removes sessions and then their index entries: in the other order a
// failure in between would leave a session that no list shows.
func (m *Manager) endOwned(ctx context.Context, sessions []owned) error {
	if len(sessions) == 0 {
		return nil
	}
	t := m.backend.trip()
	indexed := false
	for _, o := range sessions {
		t.remove(o.handles...)
		indexed = indexed || o.user != ""
	}
	if indexed && !m.backend.ordered() {
		if err := t.send(ctx); err != nil {
			return err
		}
		t = m.backend.trip()
	}
	for _, o := range sessions {
		if o.user != "" {
			t.leave(o.user, o.handles...)
		}
	}
	return t.send(ctx)
}

// endAll ends all sessions that a user's index names for this host, and these, which are those
// of the client that asks for it. They come last: should anything fail before, the client still
// has one to try again with.
func (m *Manager) endAll(ctx context.Context, user, host string, these []string) error {
	entries, err := m.indexed(ctx, user)
	if err != nil {
		return err
	}
	others := handlesOf(without(m.sameUser(entries, host), these...))
	if m.backend.ordered() || len(others) == 0 {
		return m.end(ctx, user, append(others, these...)...)
	}
	t := m.backend.trip()
	t.remove(others...)
	if err := t.send(ctx); err != nil {
		return err
	}
	t = m.backend.trip()
	t.leave(user, others...)
	t.remove(these...)
	if err := t.send(ctx); err != nil {
		return err
	}
	t = m.backend.trip()
	t.leave(user, these...)
	return t.send(ctx)
}

// sameUser returns those of the sessions under one user's name that are valid at host: the user
// of that name at another host is another one. An entry that does not say where its session is
// valid is of one that is valid nowhere.
func (m *Manager) sameUser(entries []entry, host string) []entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return e.host != "" && !m.isValidAt(e.host, host) })
}

// excess returns the oldest sessions of a user at host that are too many beside those that are
// kept: the one that begins, and the one that it replaces. A session that has been replaced is
// about to end by itself.
func (m *Manager) excess(entries []entry, host string, kept ...string) []string {
	now := m.now()
	live := slices.DeleteFunc(without(m.sameUser(entries, host), kept...), func(e entry) bool {
		return e.seen == 0 || e.seen <= now.UnixMilli() && m.set.remaining(&record{Created: e.created, Seen: e.seen}, now) <= 0
	})
	slices.SortStableFunc(live, func(a, b entry) int { return cmp.Compare(a.created, b.created) })
	return handlesOf(live[:max(len(live)+1-m.set.MaxPerUser, 0)])
}

// tidy removes from an index what is gone, where it names more sessions than a user may have. No
// request waits for that: it makes no difference but to the size of the index.
func (m *Manager) tidy(ctx context.Context, user string, entries []entry) {
	if len(entries) > m.set.MaxPerUser {
		go func() { _, _ = m.existing(store.Writing(store.Afresh(ctx)), user, entries) }()
	}
}

// enter adds the entry of a session in its user's index to a trip, or keeps it there.
func (m *Manager) enter(t trip, handle string, r *record) *[]entry {
	e := entry{handle: handle, created: r.Created, seen: r.Seen, host: r.Host}
	if r.Ends != 0 {
		e.seen = 0
	}
	left := m.set.longest(r, m.now())
	if r.Ends == 0 && m.set.remembers(r) {
		e.seen = m.now().Add(left).UnixMilli()
	}
	return t.enter(r.User, e, max(left, time.Millisecond))
}

func handlesOf(entries []entry) []string {
	handles := make([]string, len(entries))
	for i := range entries {
		handles[i] = entries[i].handle
	}
	return handles
}

func without(entries []entry, gone ...string) []entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return slices.Contains(gone, e.handle) })
}

type stored struct {
	handle string
	record *record
}

// existing returns the live ones of the sessions that an index names, oldest
// first, and removes from it those that are gone.
func (m *Manager) existing(ctx context.Context, user string, entries []entry) ([]stored, error) {
	t := m.backend.trip()
	texts := make([]*[]byte, len(entries))
	for i := range entries {
		texts[i] = t.get(entries[i].handle)
	}
	if err := t.send(ctx); err != nil {
		return nil, err
	}
	var sessions []stored
	var stale []string
	for i, text := range texts {
		if *text == nil {
			stale = append(stale, entries[i].handle)
			continue
		}
		r, err := m.liveRecord(*text)
		if err != nil {
			return nil, err
		}
		if r != nil && r.User == user {
			sessions = append(sessions, stored{entries[i].handle, r})
		}
	}
	slices.SortStableFunc(sessions, func(a, b stored) int {
		return cmp.Compare(a.record.Created, b.record.Created)
	})
	if len(stale) == 0 {
		return sessions, nil
	}
	t = m.backend.trip()
	t.leave(user, stale...)
	return sessions, t.send(ctx)
}
