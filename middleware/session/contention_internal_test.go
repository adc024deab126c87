package session

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/store"
)

// busyBackend runs something of a test before each round trip that changes a session.
type busyBackend struct {
	backend
	before func(ctx context.Context, handle string)
}

func (b *busyBackend) trip() trip { return &busyTrip{trip: b.backend.trip(), b: b} }

type busyTrip struct {
	trip
	b      *busyBackend
	handle string
}

func (t *busyTrip) swap(handle, head string, text []byte, ttl time.Duration) *swapped {
	t.handle = handle
	return t.trip.swap(handle, head, text, ttl)
}

func (t *busyTrip) send(ctx context.Context) error {
	if t.handle != "" {
		t.b.before(ctx, t.handle)
	}
	return t.trip.send(ctx)
}

// change is what another request does to a session.
func change(t *testing.T, m *Manager, b backend, handle string) {
	t.Helper()
	r, err := m.read(t.Context(), handle)
	if err != nil || r == nil {
		t.Errorf("record %v, error %v", r, err)
		return
	}
	head := r.head()
	r.Revision++
	text, err := r.encode()
	if err != nil {
		t.Error(err)
		return
	}
	another := b.trip()
	result := another.swap(handle, head, text, time.Hour)
	if err := another.send(context.Background()); err != nil || result.ended || result.present != nil {
		t.Errorf("the other change: %+v, %v", result, err)
	}
}

// merge runs a request that merges into a new session, whose backend is then busy.
func merge(t *testing.T, m *Manager, busy *busyBackend) error {
	t.Helper()
	first := m.ForRequest(httptest.NewRequest(http.MethodPost, "/", nil), Route{Mode: Optional})
	cookie, err := first.Commit(t.Context(), Actions{Merge: map[string]any{"a": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.AddCookie(cookie)
	rs := m.ForRequest(r, Route{Mode: Optional})
	if err := rs.Load(t.Context()); err != nil || rs.Session() == nil {
		t.Fatalf("session %v, error %v", rs.Session(), err)
	}
	m.shared.backend = busy
	_, err = rs.Commit(t.Context(), Actions{Merge: map[string]any{"a": "2"}})
	return err
}

// A store that answers is not unavailable: where other requests change a session all the time,
// a change of it is a conflict with theirs.
func TestAChangeThatMeetsOtherChangesForeverIsAConflict(t *testing.T) {
	t.Parallel()
	m, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	attempts, inner := 0, m.backend
	err = merge(t, m, &busyBackend{inner, func(_ context.Context, handle string) {
		attempts++
		change(t, m, inner, handle)
	}})
	refusal := Refuse(err)
	if !errors.Is(err, ErrContended) || errors.Is(err, ErrUnavailable) || refusal.Status != http.StatusConflict ||
		refusal.Header.Get("Retry-After") != "" || !strings.Contains(refusal.Reason, "at the same time") {
		t.Errorf("%v; answered %+v", err, refusal)
	}
	if attempts < conflictsMax {
		t.Errorf("it gave up after %d attempts", attempts)
	}
}

// A change goes through once the others pause, though more than conflictsMax came before.
func TestAChangeOutlastsAHundredOthers(t *testing.T) {
	t.Parallel()
	m, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	attempts, inner := 0, m.backend
	if err := merge(t, m, &busyBackend{inner, func(_ context.Context, handle string) {
		if attempts++; attempts < conflictsMax {
			change(t, m, inner, handle)
		}
	}}); err != nil {
		t.Error(err)
	}
}

// The time that a request has for its writes may be over before the attempts are.
func TestConflictsUntilTheTimeForWritesIsOverAreAConflict(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	redis, err := store.Open(store.Options{URL: server.URL, Timeout: 4 * time.Second, WriteTimeout: 4 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { redis.Close() })
	m, err := New(Options{Redis: redis})
	if err != nil {
		t.Fatal(err)
	}
	attempts, inner := 0, m.backend
	err = merge(t, m, &busyBackend{inner, func(ctx context.Context, handle string) {
		if attempts++; attempts == 1 {
			change(t, m, inner, handle)
			return
		}
		server.Pause()
		defer server.Resume()
		waits := inner.trip() // takes what is left of the request's time
		waits.get(handle)
		if err := waits.send(ctx); err == nil {
			t.Error("a Redis that is paused has answered")
		}
	}})
	if !errors.Is(err, ErrContended) || Status(err) != http.StatusConflict {
		t.Errorf("after %d attempts: %v", attempts, err)
	}
}
