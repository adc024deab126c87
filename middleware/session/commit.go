package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"github.com/headgate/headgate/middleware/clientip"
	"github.com/headgate/headgate/middleware/store"
)

// Commit does what the app server asks for, and what is due without being asked:
// the logout of a [Logout] route, the rotation of an old ID. It comes after
// Load, on every response of a route with sessions, before the response's
// headers go out. It returns the cookie to send, or nil; WriteHeaders sends it.
// An app that acts in several steps may call it again.
//
// On an error the client must not be told that anything was done: answer with
// [Refuse] instead of the response. The error is ErrUnavailable, ErrEnded where
// the session has ended since Load, ErrTooLarge, or ErrMalformed for a user that
// can't be or a route that is [Off]. A client that disconnects meanwhile does not
// leave it half done.
func (rs *RequestSession) Commit(ctx context.Context, a Actions) (*http.Cookie, error) {
	if rs.route.Mode == Off {
		if a.Any() {
			return nil, fmt.Errorf("%w: the route has session: off", ErrMalformed)
		}
		return nil, nil
	}
	rs.committed = true
	if rs.session == nil && rs.route.Mode != Logout && !a.Any() {
		return nil, nil
	}
	cookie, err := rs.commit(store.Replicated(context.WithoutCancel(ctx)), a)
	if err != nil {
		return nil, err
	}
	if cookie != nil || a.Any() {
		rs.changed(cookie)
	}
	return cookie, nil
}

// CommitDue commits what is due without being asked, unless Commit has been
// called. It is for responses that no app server had a part in, or whose app
// server failed: on a [Logout] route the session ends whatever happens.
func (rs *RequestSession) CommitDue(ctx context.Context) error {
	if rs.committed {
		return nil
	}
	_, err := rs.Commit(ctx, Actions{})
	return err
}

// changed notes for WriteHeaders that the response is about a change of this
// client's session, and the cookie that goes with it, if any.
func (rs *RequestSession) changed(cookie *http.Cookie) {
	rs.private = true
	if cookie != nil {
		rs.cookie = cookie
	}
}

func (rs *RequestSession) commit(ctx context.Context, a Actions) (*http.Cookie, error) {
	if rs.route.Mode == Logout && a.Logout == LogoutNone {
		a.Logout = LogoutSession
	}
	if rs.touchLater && rs.session != nil && a.Login == "" && a.Logout == LogoutNone {
		rs.touchLater = false
		if rs.touch(ctx); rs.session == nil && a.Any() {
			return nil, ErrEnded
		}
	}
	switch {
	case a.Logout != LogoutNone:
		cookie, err := rs.logout(ctx, a.Logout)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNotEnded, err)
		}
		return cookie, nil
	case rs.err != nil && a.Any():
		return nil, rs.err // there may be a session, which a new one must not replace
	case a.Login != "":
		return rs.login(ctx, a)
	case rs.session != nil:
		return rs.change(ctx, a)
	case a.Merge != nil:
		return rs.begin(ctx, a.Merge)
	}
	return nil, nil
}

// logout ends all sessions that the client has presented: one that it leaves would be the
// client's again with the next request.
func (rs *RequestSession) logout(ctx context.Context, scope LogoutScope) (*http.Cookie, error) {
	if rs.err != nil {
		return nil, rs.err // there may be a session, which would go on
	}
	ended := ownedOf(rs.others)
	everywhere := scope == LogoutEverywhere && rs.session != nil && rs.session.User != ""
	if s := rs.session; s != nil && !everywhere {
		ended = append(ended, s.record.owned(s.Ref))
	}
	if err := rs.m.endOwned(ctx, ended); err != nil {
		return nil, err
	}
	if s := rs.session; everywhere { // the one that counts comes last, so that the client has one to try again with
		if err := rs.m.endAll(ctx, s.User, rs.request.Host, s.record.owned(s.Ref).handles); err != nil {
			return nil, err
		}
	}
	rs.others = nil
	if rs.session != nil {
		rs.m.remember.Delete(rs.sum)
		rs.session = nil
	}
	if !rs.named {
		return nil, nil
	}
	return rs.m.set.deletion(), nil
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
		User: user, Host: rs.m.boundTo(rs.request.Host), Created: now, Seen: now,
		Addr: clientAddr(rs.request), Agent: clientAgent(rs.request),
	}
}

// create stores a new anonymous session under t. From then on it is the request's. Its
// first ID counts as presented.
func (rs *RequestSession) create(ctx context.Context, t token, r *record) (*http.Cookie, error) {
	m := rs.m
	r.IDs = []issuedID{{Sum: t.sum(), Issued: r.Created, Used: true}}
	text, err := r.encode()
	if err != nil {
		return nil, err
	}
	trip := m.backend.trip()
	trip.create(t.handle, text, m.set.remaining(r, m.now()))
	if err := trip.send(ctx); err != nil {
		return nil, err
	}
	return rs.begun(t, r), nil
}

// begun makes a session that has been stored the request's, and returns its cookie.
func (rs *RequestSession) begun(t token, r *record) *http.Cookie {
	rs.token, rs.sum, rs.named, rs.touchLater = t, t.sum(), true, false
	rs.take(r)
	return rs.m.set.cookieOf(t, r, rs.m.now())
}

// change merges data into the live session and renews its ID where that is
// asked for or due.
func (rs *RequestSession) change(ctx context.Context, a Actions) (*http.Cookie, error) {
	if a.Merge == nil && a.Plan == "" && !a.Renew && !rs.rotationDue(rs.session.record) {
		return nil, nil
	}
	cookie, err := rs.write(ctx, a.Renew, func(r *record) error {
		r.putOn(a.Plan)
		return rs.m.mergeInto(r, a.Merge)
	})
	if err != nil && !a.Any() {
		// The app did not ask for this rotation: the next request tries again, or finds
		// that the session has ended.
		if !errors.Is(err, ErrEnded) {
			rs.m.lines.notRotated.Log(ctx, rs.m.log, slog.LevelWarn, "session ID not rotated", "ref", rs.token.handle, "error", err)
		}
		return nil, nil
	}
	return cookie, err
}

// write edits the data and the plan of the live session, as often as it takes to lose no
// other request's changes, and renews its ID where that is wanted or due.
func (rs *RequestSession) write(ctx context.Context, renew bool, edit func(*record) error) (*http.Cookie, error) {
	m := rs.m
	var next *token
	r, err := m.update(ctx, rs.token.handle, rs.session.record, func(r *record) (changed bool, err error) {
		next = nil
		before, plan, expires := r.Data, r.Plan, r.Expires
		if err := edit(r); err != nil {
			return false, err
		}
		changed = !bytes.Equal(r.Data, before) || r.Plan != plan || r.Expires != expires
		at := r.find(rs.sum)
		if at >= 0 && (renew || rs.rotationDue(r)) {
			successor, added := r.renewed(at, rs.token, m.now())
			next, changed = &successor, changed || added
		} else if r.Expires != expires && at >= 0 && r.newest(at) {
			next = &rs.token // again, for another time
		}
		return changed, nil
	})
	if err != nil {
		return nil, err
	}
	rs.take(r)
	rs.remember()
	if next == nil {
		return nil, nil
	}
	return m.set.cookieOf(*next, r, m.now()), nil
}

// rotationDue reports whether the ID that was presented is the newest and old
// enough.
func (rs *RequestSession) rotationDue(r *record) bool {
	at := r.find(rs.sum)
	return rs.m.set.RotateEvery > 0 && at >= 0 && r.newest(at) && since(rs.m.now().UnixMilli(), r.IDs[at].Issued) >= rs.m.set.RotateEvery
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
	if size := lenBeforeEscaping(text); size > m.set.MaxData {
		return fmt.Errorf("%w: %d bytes of JSON, and the most is %d; keep large things elsewhere and their names in the session", ErrTooLarge, size, m.set.MaxData)
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
