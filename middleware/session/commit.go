package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/headgate/headgate/middleware/clientip"
)

// Status is the HTTP status for an error of [ParseActions] or [RequestSession.Commit]:
// 502 where the app server asked for something that can't be, 503 where it
// could not be saved.
func Status(err error) int {
	if errors.Is(err, ErrMalformed) || errors.Is(err, ErrTooLarge) {
		return http.StatusBadGateway
	}
	return http.StatusServiceUnavailable
}

// Apply does what the app server asks for, and what is due without being asked:
// the logout of a [Logout] route, the rotation of an old ID. It returns the
// cookie to send, or nil. It is to be called once, before the response's
// headers go out, for every response on a route with sessions.
//
// An error means that nothing of it may be reported as done: send [Status]
// instead of the response. A client that leaves meanwhile does not leave it
// half done.
func (rs *RequestSession) Commit(ctx context.Context, a Actions) (*http.Cookie, error) {
	if rs.route.Mode == Logout && a.Logout == LogoutNone {
		a.Logout = LogoutSession
	}
	asked := a.Any()
	if !asked && rs.session == nil {
		return nil, nil
	}
	ctx = context.WithoutCancel(ctx)
	switch {
	case rs.err != nil && asked:
		// Whatever session there is must not be replaced by what we'd make up.
		return nil, rs.err
	case a.Logout != LogoutNone:
		return rs.logout(ctx, a.Logout)
	case a.Login != "":
		return rs.login(ctx, a)
	case rs.session != nil:
		return rs.change(ctx, a)
	case a.Merge != nil:
		return rs.begin(ctx, a.Merge)
	}
	return nil, nil
}

// logout ends the session, and with it the one that it replaced or that
// replaced it: a login's two cookies are one session to the user.
func (rs *RequestSession) logout(ctx context.Context, scope LogoutScope) (*http.Cookie, error) {
	if s := rs.session; s != nil {
		ended := []string{s.Ref}
		for _, handle := range []string{s.record.Replaces, s.record.Replaced} {
			if handle != "" {
				ended = append(ended, handle)
			}
		}
		if scope == LogoutEverywhere && s.User != "" {
			// The others first: should that fail, the client has a session to
			// try again with.
			if _, err := rs.m.revokeBut(ctx, s.User, s.Ref); err != nil {
				return nil, err
			}
		}
		if err := rs.m.end(ctx, s.User, ended...); err != nil {
			return nil, err
		}
		rs.m.remember.Delete(rs.sum)
		rs.session = nil
	}
	if !rs.named {
		return nil, nil
	}
	return rs.m.set.deletion(), nil
}

// login begins a session of the user, under a handle and a secret that nobody
// has seen before (session fixation). What an anonymous session held comes
// along, or one of the same user; another user's never does. The session that
// is replaced goes on as it was until the new one has arrived at the client:
// see [RequestSession.retireReplaced].
func (rs *RequestSession) login(ctx context.Context, a Actions) (*http.Cookie, error) {
	m := rs.m
	if err := validUser(a.Login); err != nil {
		return nil, err
	}
	r := rs.newRecord(a.Login)
	if rs.session != nil {
		// Read again: the app may have taken its time, and others have merged.
		old, err := m.read(ctx, rs.token.handle)
		if err != nil {
			return nil, err
		}
		if old != nil {
			r.Replaces = rs.token.handle
			if old.User == "" || old.User == a.Login {
				r.Data = old.Data
			}
		}
	}
	if err := m.mergeInto(r, a.Merge); err != nil {
		return nil, err
	}
	former := rs.token.handle
	cookie, err := rs.create(ctx, newToken(), r)
	if err == nil {
		rs.former = former
	}
	return cookie, err
}

// begin makes an anonymous session for the first data that an app wants kept.
func (rs *RequestSession) begin(ctx context.Context, merge map[string]any) (*http.Cookie, error) {
	if len(mergePatch(nil, merge)) == 0 {
		return nil, nil // nothing to keep: no session, no cookie
	}
	r := rs.newRecord("")
	if err := rs.m.mergeInto(r, merge); err != nil {
		return nil, err
	}
	return rs.create(ctx, newToken(), r)
}

func (rs *RequestSession) newRecord(user string) *record {
	now := rs.m.now().UnixMilli()
	return &record{
		User: user, Created: now, Seen: now,
		Addr: clientAddr(rs.request), Agent: clientAgent(rs.request),
	}
}

// create stores a new session under t. From then on it is the request's. Its
// first ID counts as presented unless its presentation is to end another
// session.
func (rs *RequestSession) create(ctx context.Context, t token, r *record) (*http.Cookie, error) {
	m := rs.m
	r.IDs = []identity{{Sum: t.sum(), Issued: r.Created, Used: r.Replaces == ""}}
	text, err := r.encode()
	if err != nil {
		return nil, err
	}
	if err := m.backend.create(ctx, t.handle, text, m.set.remaining(r, m.now())); err != nil {
		return nil, err
	}
	if r.User != "" {
		if err := m.admit(ctx, t.handle, r); err != nil {
			// Nobody has seen the token: what can't be removed expires unused.
			return nil, errors.Join(err, m.backend.remove(ctx, t.handle))
		}
	}
	rs.token, rs.sum, rs.named = t, t.sum(), true
	rs.take(r)
	return m.set.cookie(t, m.set.AbsoluteTimeout), nil
}

// change merges data into the live session and renews its ID where that is
// asked for or due.
func (rs *RequestSession) change(ctx context.Context, a Actions) (*http.Cookie, error) {
	if a.Merge == nil && !a.Renew && !rs.rotationDue(rs.session.record) {
		return nil, nil
	}
	cookie, err := rs.write(ctx, a.Renew, func(r *record) error { return rs.m.mergeInto(r, a.Merge) })
	if err != nil && a.Merge == nil && !a.Renew {
		// Only a rotation that nobody waits for: the next request tries again.
		rs.m.log.WarnContext(ctx, "session ID not rotated", "ref", rs.token.handle, "error", err)
		return nil, nil
	}
	return cookie, err
}

// write edits the data of the live session, as often as it takes to lose nobody
// else's changes, and renews its ID where that is wanted or due.
func (rs *RequestSession) write(ctx context.Context, renew bool, edit func(*record) error) (*http.Cookie, error) {
	m := rs.m
	var next *token
	r, err := m.update(ctx, rs.token.handle, rs.session.record, func(r *record) (changed bool, err error) {
		next = nil
		before := r.Data
		if err := edit(r); err != nil {
			return false, err
		}
		changed = !bytes.Equal(r.Data, before)
		if at := r.find(rs.sum); at >= 0 && (renew || rs.rotationDue(r)) {
			successor, added := r.renewed(at, rs.token, m.now())
			next, changed = &successor, changed || added
		}
		return changed, nil
	})
	if err != nil {
		return nil, err
	}
	rs.take(r)
	if next == nil {
		return nil, nil
	}
	return m.set.cookie(*next, m.set.AbsoluteTimeout-since(m.now().UnixMilli(), r.Created)), nil
}

// rotationDue reports whether the ID that was presented is the newest and old
// enough.
func (rs *RequestSession) rotationDue(r *record) bool {
	at := r.find(rs.sum)
	return at >= 0 && r.newest(at) && since(rs.m.now().UnixMilli(), r.IDs[at].Issued) >= rs.m.set.RotateEvery
}

// mergeInto applies a merge patch to the record's data.
func (m *Manager) mergeInto(r *record, patch map[string]any) error {
	if patch == nil {
		return nil
	}
	data, err := decodeObject(orEmpty(r.Data))
	if err != nil {
		return fmt.Errorf("session data: %w", err)
	}
	return m.setData(r, mergePatch(data, patch))
}

func (m *Manager) setData(r *record, data map[string]any) error {
	text, err := encodeObject(data)
	if err != nil {
		return fmt.Errorf("session data: %w", err)
	}
	if len(text) > m.set.MaxData {
		return fmt.Errorf("%w: %d bytes of JSON, and the most is %d; keep large things elsewhere and their names in the session", ErrTooLarge, len(text), m.set.MaxData)
	}
	r.Data = text
	return nil
}

func orEmpty(data json.RawMessage) json.RawMessage {
	if len(data) == 0 {
		return json.RawMessage("{}")
	}
	return data
}

// clientAddr is the address shown to the session's owner: as resolved by
// package clientip where that was asked, else the connection's.
func clientAddr(r *http.Request) string {
	if info, ok := clientip.FromContext(r.Context()); ok && info.Addr.IsValid() {
		return info.Addr.String()
	}
	addrPort, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return addrPort.Addr().Unmap().WithZone("").String()
}

// clientAgent is bounded, because clients choose it.
func clientAgent(r *http.Request) string {
	agent := r.UserAgent()
	return strings.ToValidUTF8(agent[:min(len(agent), 200)], "")
}
