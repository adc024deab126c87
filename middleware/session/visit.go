package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

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

// Route is what one route says about sessions. The zero value is off.
type Route struct {
	Mode   Mode
	NoCSRF bool // this route takes cross-origin requests
}

// Identity is whom a session speaks for.
type Identity struct {
	User string // empty: anonymous
	Ref  string // see [Session.Ref]
}

// Info describes a session to its owner and to operators.
type Info struct {
	// Ref names the session for all its life, through every renewal of its ID.
	// It is not secret: nobody can present it as a cookie.
	Ref     string    `json:"ref"`
	User    string    `json:"user,omitempty"` // empty: anonymous
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

// Data is the session's data: one JSON object, in ASCII.
func (s *Session) Data() json.RawMessage { return s.record.Data }

func infoOf(handle string, r *record) Info {
	return Info{
		Ref: handle, User: r.User,
		Created: time.UnixMilli(r.Created), Seen: time.UnixMilli(r.Seen),
		Addr: r.Addr, Agent: r.Agent,
	}
}

// Visit is one request's dealings with its session, in this order: Begin,
// Finish, Decide, Forward, Apply. It belongs to the request and is not safe for
// concurrent use.
type Visit struct {
	m       *Manager
	route   Route
	request *http.Request

	named  bool    // a cookie of our name came, be it junk
	tokens []token // the well-formed ones
	sums   []digest
	fetch  fetch

	session *Session // what Finish found
	token   token    // and what opened it
	sum     digest
	former  string // the handle that a login in this request has replaced
	err     error  // why nobody knows
}

// Visit looks at the request's cookies, without any I/O. The request's method,
// host and headers must be as the client sent them until Decide was called.
//
// A route that is [Off] does not look at the request, which may be nil, and as
// long as no Actions are applied its Visit does not change: one may serve all
// requests at once.
func (m *Manager) Visit(r *http.Request, route Route) *Visit {
	v := &Visit{m: m, route: route, request: r}
	if route.Mode == "" || route.Mode == Off {
		v.route.Mode = Off
		return v
	}
	v.named, v.tokens = m.set.candidates(r.Header)
	for _, t := range v.tokens {
		v.sums = append(v.sums, t.sum())
	}
	return v
}

// Carries reports whether the request has a well-formed cookie of ours, so that
// Begin and Finish have something to ask.
func (v *Visit) Carries() bool { return len(v.tokens) > 0 }

// Remembered returns whom this instance last knew the cookie to speak for. It
// is a guess, so that limits by user and session can share the session's round
// trip: it is right as long as the session lives, which Finish tells.
func (v *Visit) Remembered() (id Identity, ok bool) {
	for _, sum := range v.sums {
		if id, ok = v.m.remember.Get(sum, v.m.now()); ok {
			return id, true
		}
	}
	return Identity{}, false
}

// Begin adds what must be asked to a trip, which the caller sends. With a nil
// trip, or without Begin, Finish asks by itself.
func (v *Visit) Begin(t *store.Batch) {
	if v.fetch != nil || !v.Carries() {
		return
	}
	handles := make([]string, len(v.tokens))
	for i := range v.tokens {
		handles[i] = v.tokens[i].handle
	}
	v.fetch = v.m.backend.fetch(t, handles...)
}

// Finish settles whether there is a live session. sent is what sending the trip
// returned, nil where there was none. The error is ErrUnavailable: the store
// did not answer and nobody knows; Decide treats that as the route wants.
func (v *Visit) Finish(ctx context.Context, sent error) error {
	if !v.Carries() {
		return nil
	}
	v.Begin(nil)
	texts, err := v.fetch.done(ctx, sent)
	if err != nil {
		v.err = err
		return err
	}
	for i, text := range texts {
		found, err := v.open(i, text)
		if err != nil {
			v.err = err
			return err
		}
		if found {
			v.settle(ctx)
			return v.err
		}
		v.m.remember.Delete(v.sums[i])
	}
	return nil
}

// open takes the record that was found for candidate i, if it opens it.
func (v *Visit) open(i int, text []byte) (bool, error) {
	if text == nil {
		return false, nil
	}
	r, err := decodeRecord(text)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	now := v.m.now()
	if !r.live(now, &v.m.set) || !r.valid(r.find(v.sums[i]), now) {
		return false, nil
	}
	v.token, v.sum = v.tokens[i], v.sums[i]
	v.take(r)
	return true, nil
}

func (v *Visit) take(r *record) {
	v.session = &Session{Info: infoOf(v.token.handle, r), record: r}
}

// settle does what a request with a live session brings about: it is noted as
// seen, at most once a minute, and an ID that comes for the first time ends its
// elders.
func (v *Visit) settle(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	m, r, now := v.m, v.session.record, v.m.now()
	id := Identity{User: r.User, Ref: v.token.handle}
	if known, ok := m.remember.Get(v.sum, now); !ok || known != id {
		m.remember.Update(v.sum, now, func(Identity, bool) (Identity, int, time.Time, bool) {
			return id, len(id.User) + len(id.Ref), now.Add(rememberFor), true
		})
	}

	due := func(r *record) bool { return since(now.UnixMilli(), r.Seen) >= m.set.touchEvery() }
	fresh := !r.IDs[r.find(v.sum)].Used
	if !fresh && !due(r) {
		return
	}
	err := v.retireReplaced(ctx, fresh)
	if err == nil {
		r, err = m.update(ctx, v.token.handle, r, func(r *record) (changed bool, err error) {
			if at := r.find(v.sum); at >= 0 {
				changed = r.presented(at, now)
			}
			if due(r) {
				r.Seen, changed = now.UnixMilli(), true
			}
			return changed, nil
		})
	}
	switch {
	case err == nil:
		v.take(r)
		if r.User != "" {
			_, err = m.enter(ctx, v.token.handle, r)
		}
	case errors.Is(err, ErrEnded):
		v.session = nil // it ended between our reading and our touch
		m.remember.Delete(v.sum)
		return
	}
	if err != nil {
		// The session is known to be live; what was not written now is written
		// at the next request.
		m.log.WarnContext(ctx, "session not touched", "ref", v.token.handle, "error", err)
	}
}

// retireReplaced gives the session that a login has replaced its last [grace]
// when the new one is first presented: an answer that was lost has logged
// nobody out.
func (v *Visit) retireReplaced(ctx context.Context, fresh bool) error {
	m, handle := v.m, v.session.record.Replaces
	if !fresh || handle == "" {
		return nil
	}
	old, err := m.read(ctx, handle)
	if err != nil || old == nil {
		return err
	}
	_, err = m.update(ctx, handle, old, func(r *record) (bool, error) {
		if r.Ends != 0 {
			return false, nil
		}
		r.Ends, r.Replaced = m.now().Add(grace).UnixMilli(), v.token.handle
		return true, nil
	})
	if errors.Is(err, ErrEnded) {
		return nil
	}
	return err
}

// Session returns the live session, or nil.
func (v *Visit) Session() *Session { return v.session }

// Err returns what Finish returned.
func (v *Visit) Err() error { return v.err }

type contextKey struct{}

// NewContext returns a context that carries the visit.
func NewContext(ctx context.Context, v *Visit) context.Context {
	return context.WithValue(ctx, contextKey{}, v)
}

// FromContext returns the visit that NewContext put there.
func FromContext(ctx context.Context) (*Visit, bool) {
	v, ok := ctx.Value(contextKey{}).(*Visit)
	return v, ok
}

// Mode returns the route's mode, Off where it had none.
func (v *Visit) Mode() Mode { return v.route.Mode }
