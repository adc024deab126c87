package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/rbcervilla/redisstore/v9"

	"github.com/headgate/headgate/internal/boundedmap"
	"github.com/headgate/headgate/internal/filestate"
	"github.com/headgate/headgate/internal/seldom"
	"github.com/headgate/headgate/middleware/store"
)

// Errors that callers tell apart with errors.Is; [Status] maps them to HTTP.
var (
	// ErrUnavailable means that the store did not answer: there may be a session
	// or not. It never means "logged out".
	ErrUnavailable = errors.New("session store is unavailable")

	// ErrEnded means that a session which was there when the request came has
	// ended meanwhile, so that a change of it could not be saved.
	ErrEnded = errors.New("the session has ended")

	// ErrContended means that a change of a session could not be saved because other
	// requests changed it all the time.
	ErrContended = errors.New("other requests change the session at the same time")

	// ErrTooLarge means that data would exceed Settings.MaxData.
	ErrTooLarge = errors.New("session data too large")

	// ErrMalformed means that an app server's Headgate-* response headers can't
	// be followed.
	ErrMalformed = errors.New("malformed session header from the app server")
	// ErrLoginElsewhere is the ErrMalformed of a login on a route that has none. The
	// client has guessed right, by the app server's word, and where it must not: limits
	// on failures count the request.
	ErrLoginElsewhere error = loginElsewhere{ErrMalformed}

	// errNotEnded is joined to what has kept a logout from ending a session.
	errNotEnded = errors.New("the session has not ended")
)

// Manager keeps sessions. It is a gorilla [sessions.Store] as well. All its
// methods are safe for concurrent use.
type Manager struct {
	*shared
	set     Settings
	signer  *Signer // nil: no assertions
	origins *originCheck
	gorilla *redisstore.RedisStore

	deviceKeys [][]byte // that sign known devices: the first signs, all verify
}

// shared is what the Managers of all generations have in common.
type shared struct {
	backend  backend
	redis    *store.Redis // nil in memory
	remember *boundedmap.Map[digest, Identity]
	now      func() time.Time
	log      *slog.Logger
	lines    lines

	streams   openStreams
	governing atomic.Pointer[Manager] // whose Settings open streams go by
}

// lines are those of the log that any request may cause.
type lines struct{ notTouched, notRotated, tooLarge, notSigned, notLookedUp seldom.Line }

const (
	rememberBytes = 8 << 20
	rememberFor   = 10 * time.Minute
)

// New returns a Manager. It does not talk to Redis.
func New(o Options) (*Manager, error) {
	sh := &shared{
		redis:    o.Redis,
		remember: boundedmap.New[digest, Identity](boundedmap.Options{MaxBytes: rememberBytes}),
		now:      o.Now,
		log:      o.Logger,
	}
	if sh.now == nil {
		sh.now = time.Now
	}
	if sh.log == nil {
		sh.log = slog.New(slog.DiscardHandler)
	}
	if o.MemoryBytes < 0 {
		return nil, fmt.Errorf("session: MemoryBytes is %d; give a number of bytes, or zero for %d", o.MemoryBytes, defaultMemoryBytes)
	}
	if o.MemoryBytes == 0 {
		o.MemoryBytes = defaultMemoryBytes
	}
	if o.Redis != nil {
		sh.backend = newRedisBackend(o.Redis)
	} else {
		sh.backend = newMemoryBackend(o.MemoryBytes, sh.now)
	}
	return sh.manager(o.Settings)
}

// With returns a Manager of the same sessions under other Settings, as a new
// generation of a policy needs it. Shorter timeouts hold for live sessions at
// once.
func (m *Manager) With(s Settings) (*Manager, error) { return m.shared.manager(s) }

func (sh *shared) manager(s Settings) (*Manager, error) {
	set, err := s.complete()
	if err != nil {
		return nil, err
	}
	origins, err := newOriginCheck(set.CSRF)
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	m := &Manager{shared: sh, set: set, origins: origins}
	if m.deviceKeys, err = deviceKeys(set.Secrets); err != nil {
		return nil, fmt.Errorf("session: secrets: %w", err)
	}
	if a := set.Assertion; a.KeyFile != "" {
		pem, err := filestate.Read(a.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("session: assertion.key_file: %w", err)
		}
		if m.signer, err = NewSigner(SignerOptions{PEM: pem, TTL: a.TTL, Now: sh.now}); err != nil {
			return nil, err
		}
	}
	m.gorilla = m.newGorillaStore()
	sh.governing.CompareAndSwap(nil, m)
	return m, nil
}

// Signer signs the assertions of Settings.Assertion; nil where that is off. What a
// request's [Route] names as its Signer is what signs there.
func (m *Manager) Signer() *Signer { return m.signer }

// CookieName is the session cookie's name: that of the settings, or its default.
func (m *Manager) CookieName() string { return m.set.Cookie.Name }

// CheckEviction returns a warning where Redis is configured so that it could
// evict live sessions, else "". Meant for the start of a program.
func (m *Manager) CheckEviction(ctx context.Context) (warning string, err error) {
	return m.backend.eviction(ctx)
}

// A change gives up, with ErrContended, once it has tried for conflictsFor and
// conflictsMax times while other requests change the same session, or has waited for Redis
// as long as one request may. Each failed attempt means that another change was written,
// so that with fewer than conflictsMax requests at once none fails on a Redis that answers
// them in that time.
const (
	conflictsFor = 2 * time.Second
	conflictsMax = 100
)

// update changes a record by compare-and-swap: change is applied to base, and
// again to what other requests have written meanwhile, until it fits or the
// record is gone. change reports whether there is anything to write; also adds to the trip of
// the first attempt what travels with it. The record as it then is comes back.
func (m *Manager) update(ctx context.Context, handle string, base *record, change func(*record) (bool, error), also ...func(trip, *record)) (*record, error) {
	deadline := time.Now().Add(conflictsFor)
	for attempt := 1; ; attempt++ {
		r := base.clone()
		if changed, err := change(r); err != nil || !changed {
			return base, err
		}
		left := m.set.remaining(r, m.now()).Truncate(time.Millisecond)
		if left <= 0 {
			return nil, ErrEnded
		}
		r.Revision++
		text, err := r.encode()
		if err != nil {
			return nil, err
		}
		t := m.backend.trip()
		result := t.swap(handle, base.head(), text, left)
		for _, add := range also {
			add(t, r)
		}
		also = nil
		switch err := t.send(ctx); {
		case attempt > 1 && store.Waited(err): // Redis has answered, and each time it was a conflict
			return nil, fmt.Errorf("%w: %d attempts; %v", ErrContended, attempt-1, err)
		case err != nil:
			return nil, err
		case result.ended:
			return nil, ErrEnded
		case result.present == nil:
			return r, nil
		}
		if base, err = decodeRecord(result.present); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if attempt >= conflictsMax && time.Now().After(deadline) {
			return nil, fmt.Errorf("%w: %d attempts", ErrContended, attempt)
		}
		time.Sleep(rand.N(time.Duration(min(attempt, 16)) * 100 * time.Microsecond))
	}
}

// read returns the live record of a handle, or nil.
func (m *Manager) read(ctx context.Context, handle string) (*record, error) {
	t := m.backend.trip()
	text := t.get(handle)
	if err := t.send(ctx); err != nil {
		return nil, err
	}
	return m.liveRecord(*text)
}

// liveRecord reads a record's text. It returns nil where there is none, or none that is live.
func (m *Manager) liveRecord(text []byte) (*record, error) {
	if text == nil {
		return nil, nil
	}
	r, err := decodeRecord(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if !r.live(m.now(), &m.set) {
		return nil, nil
	}
	return r, nil
}
