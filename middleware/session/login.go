package session

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// beginning is the login of one request: a session that is being stored.
type beginning struct {
	rs      *RequestSession
	actions Actions
	token   token
	blank   *record // as the session is without what it takes over
	old     *record // the session that it replaces, as it was when the request came; nil: none
	record  *record
}

// login begins a session of the user, under a new handle and a new secret
// (session fixation). What an anonymous session held comes
// along, or one of the same user; another user's never does. The session that
// is replaced goes on as it was until the client presents the new one: see [RequestSession.retireReplaced].
//
// It takes two round trips. The first one stores the session, and asks what the second one
// depends on: what other requests have merged into the replaced session while the app worked,
// and what other sessions the user has. The second one enters the session into the user's
// index, and ends the oldest ones where there are now too many.
func (rs *RequestSession) login(ctx context.Context, a Actions) (*http.Cookie, error) {
	if err := a.validUser(); err != nil {
		return nil, err
	}
	b := &beginning{rs: rs, actions: a, token: newToken(), blank: rs.newRecord(a.Login)}
	b.blank.Latin1 = a.latin1
	rs.m.set.last(b.blank, a.Lifetime, a.BrowserSession)
	if rs.session != nil {
		b.old = rs.session.record
	}
	var err error
	if b.record, err = b.taking(b.old); err != nil {
		return nil, err
	}
	if err := b.store(ctx); err != nil {
		// No client has the token: what can't be removed expires unused.
		return nil, errors.Join(err, rs.m.end(ctx, a.Login, b.token.handle))
	}
	former := rs.token.handle
	cookie := rs.begun(b.token, b.record)
	rs.former = former
	return cookie, nil
}

// last gives a session that begins the lifetime that its login asks for, or as much of it as is allowed.
func (s *Settings) last(r *record, lifetime time.Duration, browser bool) {
	r.Browser = browser
	if lifetime <= 0 {
		return
	}
	lifetime = min(lifetime, max(s.AbsoluteTimeout, s.Remember))
	r.Expires = r.Created + lifetime.Milliseconds()
	r.Remember = lifetime > s.AbsoluteTimeout
}

// taking returns the new session with what it takes over from the one that it replaces. Its
// first ID counts as presented unless its presentation is to end that one.
func (b *beginning) taking(old *record) (*record, error) {
	r := b.blank.clone()
	if old != nil {
		r.Replaces = b.rs.token.handle
		if old.User == "" || old.User == r.User && old.Latin1 == r.Latin1 {
			r.Data, r.Plan = old.Data, old.Plan
		}
	}
	r.putOn(b.actions.Plan)
	r.IDs = []issuedID{{Sum: b.token.sum(), Issued: r.Created, Used: r.Replaces == ""}}
	return r, b.rs.m.mergeInto(r, b.actions.Merge)
}

// store makes the two round trips.
func (b *beginning) store(ctx context.Context) error {
	m, user, host := b.rs.m, b.actions.Login, b.rs.request.Host
	text, err := b.record.encode()
	if err != nil {
		return err
	}
	first := m.backend.trip()
	again, older := new([]byte), new([]byte)
	if b.old != nil {
		again = first.get(b.rs.token.handle)
		if b.rs.touchLater && b.rs.fresh() && b.old.Replaces != "" {
			older = first.get(b.old.Replaces)
		}
	}
	first.create(b.token.handle, text, m.set.remaining(b.record, m.now()))
	listed := first.list(user)
	if err := first.send(ctx); err != nil {
		return err
	}

	second := m.backend.trip()
	rewritten, err := b.takeAgain(second, *again)
	if err != nil {
		return err
	}
	if err := b.retire(second, *older); err != nil {
		return err
	}
	entered := m.enter(second, b.token.handle, b.record)
	excess := m.excess(*listed, host, b.token.handle, b.record.Replaces)
	second.remove(excess...)
	if m.backend.ordered() {
		second.leave(user, excess...)
	}
	if err := second.send(ctx); err != nil {
		return err
	}
	if rewritten.ended || rewritten.present != nil {
		return ErrEnded // revoked before its client had it
	}
	if more := m.excess(without(*entered, excess...), host, b.token.handle, b.record.Replaces); len(more) > 0 {
		// The user has logged in elsewhere in between.
		if err := m.end(ctx, user, more...); err != nil {
			return err
		}
	}
	m.tidy(ctx, user, *entered)
	return nil
}

// takeAgain adds to a trip the new session as it has to be, where the replaced one is no longer
// what it was when the request came.
func (b *beginning) takeAgain(t trip, text []byte) (*swapped, error) {
	if b.old == nil {
		return new(swapped), nil
	}
	m, written := b.rs.m, b.record
	old, err := m.liveRecord(text)
	if err != nil || old != nil && old.Revision == b.old.Revision {
		return new(swapped), err
	}
	if b.record, err = b.taking(old); err != nil {
		return nil, err
	}
	b.record.Revision = written.Revision + 1
	if text, err = b.record.encode(); err != nil {
		return nil, err
	}
	return t.swap(b.token.handle, written.head(), text, m.set.remaining(b.record, m.now())), nil
}

// retire adds to a trip the end of the session that the replaced one has replaced, where this
// login is the first request with the replaced one. If another request changes that session at
// the same moment, it ends by its timeouts.
func (b *beginning) retire(t trip, text []byte) error {
	m, handle := b.rs.m, ""
	r, err := m.liveRecord(text)
	if err != nil || r == nil {
		return err
	}
	handle = b.old.Replaces
	head := r.head()
	if !r.retire(m.now(), b.rs.token.handle) {
		return nil
	}
	r.Revision++
	if text, err = r.encode(); err != nil {
		return err
	}
	t.swap(handle, head, text, m.set.remaining(r, m.now()))
	if r.User != "" {
		t.retire(r.User, handle)
	}
	return nil
}
