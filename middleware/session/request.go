package session

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/store"
)

// Mode is what a route wants with sessions.
type Mode string

const (
	Off      Mode = "off"      // sessions are not looked at
	Optional Mode = "optional" // a session is used where there is one
	Required Mode = "required" // a session with a user, or 401 or 303
	Login    Mode = "login"    // as Optional; the app may log a user in here, and here alone
	Logout   Mode = "logout"   // the session ends, whatever the app answers
)

// Values lists the modes.
func (Mode) Values() []string {
	return []string{string(Off), string(Optional), string(Required), string(Login), string(Logout)}
}

// Route is what one route says about sessions. The zero value is off.
type Route struct {
	Mode   Mode
	NoCSRF bool // this route takes cross-origin requests

	// Signer signs the session for the app servers, in [HeaderAssertion]. Nil:
	// it is not signed, unless Settings.Assertion is on.
	Signer *Signer
	// Audience is the assertion's aud claim: whom it is meant for, usually the
	// name of the app servers' upstream. Empty: no such claim. Settings.Assertion
	// may name another for all routes without a Signer of their own.
	Audience string
}

// Identity is whom a session speaks for.
type Identity struct {
	User string // empty: anonymous
	Ref  string // see [Session.Ref]
	Plan string // that the app has put the session on; may change, unlike the others
}

// Info describes a session to its owner and to operators.
type Info struct {
	// Ref names the session for all its life, through every renewal of its ID.
	// It is not secret: it opens nothing as a cookie.
	Ref     string    `json:"ref"`
	User    string    `json:"user,omitempty"` // empty: anonymous
	Host    string    `json:"host,omitempty"` // where it is valid: a host, or a domain with a dot before it
	Plan    string    `json:"plan,omitempty"` // that the app has put the session on; empty: none
	Created time.Time `json:"created"`        // at login, for a user
	Seen    time.Time `json:"last_seen"`      // exact to the touch interval, a minute at most
	Addr    string    `json:"address,omitempty"`
	Agent   string    `json:"agent,omitempty"`
}

// Session is a live session as it was when the request came. It does not change.
type Session struct {
	Info
	record *record
}

// Identity is whom the session speaks for.
func (s *Session) Identity() Identity { return Identity{User: s.User, Ref: s.Ref, Plan: s.Plan} }

// UserAsSent is the session's user in the octets in which the app server has sent the name, as [HeaderUser] has it.
func (s *Session) UserAsSent() string { return s.record.userAsSent() }

// Data is the session's data: one JSON object, in ASCII.
func (s *Session) Data() json.RawMessage { return s.record.Data }

func infoOf(handle string, r *record) Info {
	return Info{
		Ref: handle, User: r.User, Host: r.Host, Plan: r.Plan,
		Created: time.UnixMilli(r.Created), Seen: time.UnixMilli(r.Seen),
		Addr: r.Addr, Agent: r.Agent,
	}
}

// RequestSession is the session of one request, through the steps AddTo, Load,
// Authorize, ForwardHeaders, TakeActions, Commit and WriteHeaders, in this order;
// each may be left out where the request gets no further. It belongs to the
// request and is not safe for concurrent use. The zero value is of no use:
// [Manager.ForRequest] makes one.
type RequestSession struct {
	m       *Manager
	route   Route
	request *http.Request

	presented []presented // the well-formed tokens of our cookies
	fetch     fetch

	session *Session // what Load found
	token   token    // and what opened it
	sum     digest
	others  []opened // the live sessions of other cookies, which do not count
	unbound []opened // sessions from before records said where they are valid
	former  string   // the handle that a login in this request has replaced
	err     error    // what Load returned

	named      bool         // a cookie of our name came, be it junk
	touchLater bool         // the touch is left to Commit: a login, which replaces the session, needs none
	committed  bool         // Commit has been called
	private    bool         // the response is about a change of this client's session
	shown      atomic.Bool  // the app has been shown the session, by ForwardHeaders or FromContext
	cookie     *http.Cookie // what the client is given
}

// ForRequest reads the request's cookies, without any I/O. The request's method,
// host and headers must be as the client sent them until Authorize was called.
//
// A route that is [Off] does not look at the request, which may be nil, and as
// long as no Actions are committed its RequestSession does not change: one may
// serve all requests at once.
func (m *Manager) ForRequest(r *http.Request, route Route) *RequestSession {
	rs := &RequestSession{m: m, route: route, request: r}
	if route.Mode == "" || route.Mode == Off {
		rs.route.Mode = Off
		return rs
	}
	rs.named, rs.presented = m.set.candidates(r.Header)
	return rs
}

// HasToken reports whether the request has a well-formed cookie of ours, so that
// Load has something to read.
func (rs *RequestSession) HasToken() bool { return len(rs.presented) > 0 }

// Remembered returns whom this instance last knew the cookie to speak for. It
// is a guess, so that limits by user and session can share the session's round
// trip. Load tells whether it was right: the session may have ended, or another instance have
// put it on another plan.
func (rs *RequestSession) Remembered() (id Identity, ok bool) {
	for i := range rs.presented {
		if id, ok = rs.m.remember.Get(rs.presented[i].sum, rs.m.now()); ok {
			return id, true
		}
	}
	return Identity{}, false
}

// AddTo adds the read of the session to a batch, so that it shares the round trip
// of what else is in it. With a nil batch, or without AddTo, Load reads alone.
func (rs *RequestSession) AddTo(batch *store.Batch) {
	if rs.fetch != nil || !rs.HasToken() {
		return
	}
	handles := make([]string, len(rs.presented))
	for i := range rs.presented {
		handles[i] = rs.presented[i].token.handle
	}
	rs.fetch = rs.m.backend.fetch(batch, handles...)
}

// Load finds the live session, if there is one, and notes that it was used. It
// sends the batch of AddTo, unless the caller or the limits have sent it; what
// that returned is then Load's error as well. The error is ErrUnavailable: the
// store did not answer, so that there may be a session or not. Authorize treats
// that as the route wants, and Commit returns it, so that a caller may ignore it.
func (rs *RequestSession) Load(ctx context.Context) error {
	if err := rs.read(ctx); err != nil {
		return err
	}
	rs.endUnbound(ctx)
	for i := range rs.presented {
		if p := &rs.presented[i]; rs.session == nil || p.sum != rs.sum {
			rs.m.remember.Delete(p.sum)
		}
	}
	if rs.session != nil {
		rs.remember()
		if rs.touchLater = rs.route.Mode == Login && !httpx.IsSafe(rs.request.Method); !rs.touchLater {
			rs.touch(ctx)
		}
	}
	return nil
}

// remember notes whose the cookie is, for requests to come.
func (rs *RequestSession) remember() {
	m, now := rs.m, rs.m.now()
	id := rs.session.Identity()
	if known, ok := m.remember.Get(rs.sum, now); !ok || known != id {
		m.remember.Update(rs.sum, now, func(Identity, bool) (Identity, int, time.Time, bool) {
			return id, len(id.User) + len(id.Ref) + len(id.Plan), now.Add(rememberFor), true
		})
	}
}

func (rs *RequestSession) take(r *record) {
	rs.session = &Session{Info: infoOf(rs.token.handle, r), record: r}
}

// touch writes what the arrival of a request changes in its live session: when
// it was last seen, at most once a minute, and, where an ID arrives for the
// first time, the end of the older IDs.
func (rs *RequestSession) touch(ctx context.Context) {
	ctx = store.Writing(context.WithoutCancel(ctx))
	m, r, now := rs.m, rs.session.record, rs.m.now()
	fresh := rs.fresh()
	if !fresh && !m.touchDue(r, now) {
		return
	}
	var err error
	if fresh && r.Replaces != "" {
		err = rs.retireReplaced(ctx, r.Replaces)
	}
	if err == nil {
		r, err = m.update(ctx, rs.token.handle, r, func(r *record) (changed bool, err error) {
			if at := r.find(rs.sum); at >= 0 {
				changed = r.presented(at, now)
			}
			if m.touchDue(r, now) {
				r.Seen, changed = now.UnixMilli(), true
			}
			return changed, nil
		}, func(t trip, r *record) {
			if r.User != "" {
				m.enter(t, rs.token.handle, r)
			}
		})
	}
	switch {
	case err == nil:
		rs.take(r)
	case errors.Is(err, ErrEnded):
		rs.ended(ctx)
	default:
		// The session is known to be live; what was not written now is written
		// at the next request.
		m.lines.notTouched.Log(ctx, m.log, slog.LevelWarn, "session not touched", "ref", rs.token.handle, "error", err)
	}
}

// touchDue reports whether use of the session is to be written.
func (m *Manager) touchDue(r *record, now time.Time) bool {
	return since(now.UnixMilli(), r.Seen) >= m.set.touchEvery()
}

// fresh reports whether the request is the first one with its ID.
func (rs *RequestSession) fresh() bool {
	r := rs.session.record
	at := r.find(rs.sum)
	return at >= 0 && !r.IDs[at].Used
}

// ended notes that the session has ended between our reading and our touch. The touch has
// entered it in its user's index again.
func (rs *RequestSession) ended(ctx context.Context) {
	m, user := rs.m, rs.session.User
	rs.session = nil
	m.remember.Delete(rs.sum)
	if user != "" {
		t := m.backend.trip()
		t.leave(user, rs.token.handle)
		_ = t.send(ctx) // the next reader of the index removes it as well
	}
}

// retireReplaced gives the session that a login has replaced its last [grace]
// when the new one is first presented: the client may not have got the response
// with the new cookie. It comes before that is noted of the new one: should it fail, the
// next request tries again.
func (rs *RequestSession) retireReplaced(ctx context.Context, handle string) error {
	m := rs.m
	old, err := m.read(ctx, handle)
	if err != nil || old == nil {
		return err
	}
	_, err = m.update(ctx, handle, old, func(r *record) (bool, error) {
		return r.retire(m.now(), rs.token.handle), nil
	}, func(t trip, r *record) {
		if r.User != "" {
			t.retire(r.User, handle)
		}
	})
	if errors.Is(err, ErrEnded) {
		return nil
	}
	return err
}

// Session returns the live session, or nil.
func (rs *RequestSession) Session() *Session { return rs.session }

// Err returns what Load returned.
func (rs *RequestSession) Err() error { return rs.err }

type contextKey struct{}

// NewContext returns a context that carries the request's session.
func NewContext(ctx context.Context, rs *RequestSession) context.Context {
	return context.WithValue(ctx, contextKey{}, rs)
}

// FromContext returns what NewContext put there. Who asks for it is shown the session: the
// response is then made for it.
func FromContext(ctx context.Context) (*RequestSession, bool) {
	rs, ok := ctx.Value(contextKey{}).(*RequestSession)
	if ok {
		rs.shown.Store(true)
	}
	return rs, ok
}

// Mode returns the route's mode, Off where it had none.
func (rs *RequestSession) Mode() Mode { return rs.route.Mode }
