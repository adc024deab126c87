package session

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/sessions"
	"github.com/rbcervilla/redisstore/v9"

	"github.com/headgate/headgate/middleware/store"
)

// The Manager is a gorilla sessions.Store: redisstore does the work, between a
// wrapper in front of it (this file), which decides what ID it sees and writes
// the cookie itself, and a client behind it (client.go), which turns its GET,
// SET and DEL into our fetch, create, swap and remove.
var _ sessions.Store = (*Manager)(nil)

func (m *Manager) newGorillaStore() *redisstore.RedisStore {
	// The client answers the PING without asking Redis, so there is no error.
	rs, _ := redisstore.NewRedisStore(context.Background(), &client{m: m})
	rs.KeyPrefix(clientKeyPrefix)
	rs.KeyGen(func() (string, error) { return newHandle(), nil })
	rs.Serializer(jsonValues{})
	rs.Options(sessions.Options{
		Path:     m.set.Cookie.Path,
		Domain:   m.set.Cookie.Domain,
		SameSite: m.set.Cookie.SameSite.mode(),
		Secure:   !m.set.Cookie.Insecure,
		HttpOnly: true,
		MaxAge:   int(m.set.AbsoluteTimeout / time.Second),
	})
	return rs
}

// Get returns the request's session, reading it once per request. It never
// returns a nil session. The error is ErrUnavailable: then the session is empty
// and must not be taken for "logged out".
//
// The name must be [Manager.CookieName]: the sessions are those of the one
// cookie.
func (m *Manager) Get(r *http.Request, name string) (*sessions.Session, error) {
	// Not the inner Get: that one registers redisstore as the session's store,
	// and Save would go past us.
	return sessions.GetRegistry(r).Get(m, name)
}

// New is Get without the registry. The session's ID is its reference, not the
// token: the token is shown to the client alone.
func (m *Manager) New(r *http.Request, name string) (*sessions.Session, error) {
	if name != m.set.Cookie.Name {
		return sessions.NewSession(m, name), fmt.Errorf("session: the cookie is %q, not %q; use CookieName", m.set.Cookie.Name, name)
	}
	rs, err := m.requestOf(r)
	if err == nil {
		err = rs.Err()
	}
	// The inner store sees the handle of a session that the cookie has opened,
	// or no cookie: never what a client made up, which it would take for the ID
	// of a new session.
	inner := (&http.Request{Header: http.Header{}}).WithContext(context.WithValue(r.Context(), requestKey{}, rs))
	if rs != nil && rs.session != nil {
		inner.AddCookie(&http.Cookie{Name: name, Value: rs.session.Ref})
	}
	s, innerErr := m.gorilla.New(inner, name)
	if err == nil {
		err = innerErr
	}
	session := sessions.NewSession(m, name)
	session.ID, session.Values, session.Options, session.IsNew = s.ID, s.Values, s.Options, s.IsNew
	if session.IsNew {
		session.ID = ""
	} else {
		session.Options.MaxAge = m.maxAge(rs.session.record)
	}
	setBaseline(r, session)
	return session, err
}

// Save stores what has changed since the session was read, top-level value by
// value, so that requests in parallel lose nothing of each other's, and writes
// the cookie of a new session. A MaxAge that the app has set is how many seconds
// the session may last from now on, at most Settings.AbsoluteTimeout in all, and the
// cookie with it; of zero or less it ends the session. Values must have string keys and be JSON; they come back as JSON's types, numbers as
// json.Number.
//
// It fails with [ErrEnded] where the session has ended meanwhile: saving does
// not revive it.
func (m *Manager) Save(r *http.Request, w http.ResponseWriter, s *sessions.Session) error {
	rs, err := m.requestOf(r)
	if err != nil {
		return err
	}
	if rs.err != nil {
		return rs.err
	}
	read := baseline(r, s)
	save := &saving{request: rs, before: read.data}
	if s.Options == nil {
		s.Options = &sessions.Options{MaxAge: m.maxAge(new(record))}
	}
	if s.Options.MaxAge != read.maxAge {
		save.lifetime = min(time.Duration(min(s.Options.MaxAge, math.MaxInt32))*time.Second, m.set.AbsoluteTimeout)
	}
	if save.before != nil && rs.session != nil && (s.ID == "" || s.ID == rs.former) {
		s.ID = rs.session.Ref // the user has logged in since s was read
	}
	// An ID that did not come from our New is none.
	if s.ID != "" && (rs.session == nil || s.ID != rs.session.Ref) {
		if save.before != nil {
			return ErrEnded
		}
		s.ID = ""
	}
	if s.ID == "" && s.Options.MaxAge <= 0 {
		return nil // there is nothing to end
	}
	ctx := context.WithValue(r.Context(), savingKey{}, save)
	if err := m.gorilla.Save(r.WithContext(ctx), discard{}, s); err != nil {
		return err
	}
	s.IsNew = false
	rs.changed(save.cookie)
	rs.WriteHeaders(w.Header())
	setBaseline(r, s)
	return nil
}

type (
	requestKey   struct{}
	savingKey    struct{}
	baselinesKey struct{}
)

// requestOf returns the request's session state: the middleware's, or one loaded
// now.
func (m *Manager) requestOf(r *http.Request) (*RequestSession, error) {
	if rs, ok := FromContext(r.Context()); ok && rs.m.shared == m.shared {
		return rs, nil
	}
	rs := m.ForRequest(r, Route{Mode: Login})
	// As gorilla's registry does: the request's owner keeps the pointer.
	*r = *r.WithContext(NewContext(r.Context(), rs))
	rs.request = r
	return rs, rs.loadForApp(r.Context())
}

// loadForApp is Load where nothing says that Commit will be called.
func (rs *RequestSession) loadForApp(ctx context.Context) error {
	err := rs.Load(ctx)
	if rs.touchLater {
		rs.touchLater = false
		rs.touch(ctx)
	}
	return err
}

// maxAge is how many seconds more the session may last, as New says and Save takes it where
// the app leaves it alone.
func (m *Manager) maxAge(r *record) int {
	if r.Expires == 0 {
		return int(m.set.AbsoluteTimeout / time.Second)
	}
	return seconds(m.set.longest(r, m.now()))
}

// saving is one Save, on its way through redisstore to the client.
type saving struct {
	request  *RequestSession
	before   map[string]json.RawMessage // nil: not a session that we read
	lifetime time.Duration              // that the app wants from now on; 0: as it was
	cookie   *http.Cookie
}

// baselines holds what each session was when it was read or saved last.
type baselines struct {
	mu   sync.Mutex
	read map[*sessions.Session]state
}

type state struct {
	data   map[string]json.RawMessage // nil: not a session that we read
	maxAge int
}

// setBaseline keeps what the session is at present, in the request's context, as the
// baseline of the next Save.
func setBaseline(r *http.Request, s *sessions.Session) {
	data, err := encodeValues(s.Values)
	if err != nil {
		return // what was just read or written as JSON is JSON
	}
	all, ok := r.Context().Value(baselinesKey{}).(*baselines)
	if !ok {
		all = &baselines{read: make(map[*sessions.Session]state)}
		*r = *r.WithContext(context.WithValue(r.Context(), baselinesKey{}, all))
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	all.read[s] = state{data, s.Options.MaxAge}
}

// baseline returns what setBaseline has kept. A session that the app has made by itself has
// asked for whatever its MaxAge says.
func baseline(r *http.Request, s *sessions.Session) state {
	all, ok := r.Context().Value(baselinesKey{}).(*baselines)
	if !ok {
		return state{}
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	return all.read[s]
}

// changes returns what turns before into after, as top-level values; nil
// removes one.
func changes(before, after map[string]json.RawMessage) map[string]json.RawMessage {
	diff := make(map[string]json.RawMessage)
	for name, value := range after {
		if old, ok := before[name]; !ok || !bytes.Equal(old, value) {
			diff[name] = value
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			diff[name] = nil
		}
	}
	return diff
}

// saveValues writes changes into the request's session, or a new one under this
// handle, and returns the cookie to send.
func (rs *RequestSession) saveValues(ctx context.Context, handle string, diff map[string]json.RawMessage, lifetime time.Duration) (*http.Cookie, error) {
	ctx = store.Replicated(context.WithoutCancel(ctx))
	expires := rs.m.now().Add(lifetime).UnixMilli()
	edit := func(r *record) error {
		if lifetime > 0 {
			r.Expires = expires
		}
		return rs.m.setValues(r, diff)
	}
	if rs.session != nil && rs.session.Ref == handle {
		return rs.write(ctx, false, edit)
	}
	r := rs.newRecord("")
	if err := edit(r); err != nil {
		return nil, err
	}
	return rs.create(ctx, tokenFor(handle), r)
}

// setValues replaces top-level values whole, because that is what an app that
// sets Values[name] means; nil removes one.
func (m *Manager) setValues(r *record, diff map[string]json.RawMessage) error {
	data, err := decodeObject(orEmpty(r.Data))
	if err != nil {
		return fmt.Errorf("session data: %w", err)
	}
	for name, text := range diff {
		if text == nil {
			delete(data, name)
			continue
		}
		data[name] = text
	}
	return m.setData(r, data)
}

// jsonValues is redisstore's serializer: JSON, because gob needs its types
// registered, says nothing to other languages, and decodes whatever it is sent.
type jsonValues struct{}

var _ redisstore.SessionSerializer = jsonValues{}

func (jsonValues) Serialize(s *sessions.Session) ([]byte, error) {
	values, err := encodeValues(s.Values)
	if err != nil {
		return nil, err
	}
	return json.Marshal(values)
}

func (jsonValues) Deserialize(text []byte, s *sessions.Session) error {
	object, err := decodeObject(text)
	if err != nil {
		return fmt.Errorf("session data: %w", err)
	}
	for name, value := range object {
		s.Values[name] = value
	}
	return nil
}

func encodeValues(values map[any]any) (map[string]json.RawMessage, error) {
	out := make(map[string]json.RawMessage, len(values))
	for key, value := range values {
		name, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("session: key %v is a %T; only string keys can be shared as JSON", key, key)
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("session: value %q: %w", name, err)
		}
		out[name] = text
	}
	return out, nil
}

// discard takes the cookie that redisstore would set, which lacks our attributes.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}
