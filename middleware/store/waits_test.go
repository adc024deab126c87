package store_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/store"
)

// wholeWait has a context wait for a Redis that does not answer until its time is up. The first
// round trip takes the time that is left, and the next one is refused.
func wholeWait(t *testing.T, do func() error) {
	t.Helper()
	if err := do(); !errors.Is(err, store.ErrUnavailable) || store.Waited(err) {
		t.Fatalf("a Redis that does not answer: %v", err)
	}
	if err := do(); !errors.Is(err, store.ErrUnavailable) || !store.Waited(err) {
		t.Fatalf("after the whole time: %v", err)
	}
}

// TestAllChecksOfARequestHaveOneTimeout: a Redis that does not answer costs a request the
// timeout once for all of its checks, whichever connection they take, and write_timeout once
// for all of its writes.
func TestAllChecksOfARequestHaveOneTimeout(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	o := store.Options{URL: s.URL, Timeout: 50 * time.Millisecond, WriteTimeout: 80 * time.Millisecond}
	first, second := open(t, o), open(t, o)
	eventually(t, "an answer", func() bool {
		return first.Do(t.Context(), cmd("ping")) == nil && second.Do(t.Context(), cmd("ping")) == nil
	})
	s.Pause()
	defer s.Resume()

	request := store.WithWaits(t.Context())
	wholeWait(t, func() error { return first.Do(request, cmd("get", "k")) })
	before := second.RoundTrips()
	if err := second.Do(request, cmd("get", "k")); !store.Waited(err) || second.RoundTrips() != before {
		t.Errorf("over another connection: %v", err)
	}
	if err := second.DoLarge(request, cmd("get", "k")); !store.Waited(err) {
		t.Errorf("a large value: %v", err)
	}
	wholeWait(t, func() error { return second.Do(store.Writing(request), cmd("set", "k", "v")) })
	if err := second.Do(store.Afresh(request), cmd("get", "k")); err == nil || store.Waited(err) {
		t.Errorf("on another account: %v", err)
	}
	if store.WithWaits(request) != request {
		t.Error("a request has waited twice")
	}
	// Without Waits each round trip has the whole time.
	for range 2 {
		if err := open(t, o).Do(t.Context(), cmd("get", "k")); err == nil || store.Waited(err) {
			t.Errorf("for no request: %v", err)
		}
	}
}

// TestAWriteHasLongerThanACheck: over a link on which every check times out, a write that its
// answer depends on is waited for.
func TestAWriteHasLongerThanACheck(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	link := redistest.StartProxy(t, strings.TrimPrefix(s.URL, "redis://"))
	r := open(t, store.Options{URL: link.URL, Timeout: 60 * time.Millisecond, WriteTimeout: time.Minute})
	eventually(t, "an answer", func() bool { return r.Do(store.Writing(t.Context()), cmd("ping")) == nil })
	link.Delay(200 * time.Millisecond)
	if err := r.Do(t.Context(), cmd("get", "k")); err == nil {
		t.Error("a check had more than its timeout")
	}
	if err := r.Do(store.Writing(t.Context()), cmd("set", "k", "v")); err != nil {
		t.Errorf("a write: %v", err)
	}
}

func TestAWriteTimeoutIsNotBelowTheTimeout(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		timeout, write time.Duration
		wantWrite      time.Duration
		problems       int
	}{
		{0, 0, time.Second, 0},
		{5 * time.Second, 0, 5 * time.Second, 0},
		{100 * time.Millisecond, 100 * time.Millisecond, 100 * time.Millisecond, 0},
		{100 * time.Millisecond, 99 * time.Millisecond, 99 * time.Millisecond, 1},
		{100 * time.Millisecond, 2 * time.Minute, 2 * time.Minute, 1},
		{100 * time.Millisecond, -1, -1, 1},
	} {
		o := store.Options{Timeout: tc.timeout, WriteTimeout: tc.write}
		o.SetDefaults()
		if got := o.Validate(); len(got) != tc.problems || o.WriteTimeout != tc.wantWrite {
			t.Errorf("timeout %v, write_timeout %v: %v, %v", tc.timeout, tc.write, o.WriteTimeout, got)
		}
	}
}

func BenchmarkDoForARequest(b *testing.B) {
	r := open(b, store.Options{URL: redistest.Start(b).URL, Timeout: time.Minute})
	for name, ctx := range map[string]func() (do func() error){
		"without": func() func() error { return func() error { return r.Do(b.Context(), cmd("get", "k")) } },
		"with": func() func() error {
			request := store.WithWaits(b.Context())
			return func() error { return r.Do(request, cmd("get", "k")) }
		},
	} {
		b.Run(name, func(b *testing.B) {
			do := ctx()
			b.ReportAllocs()
			for b.Loop() {
				if err := do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
