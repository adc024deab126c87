package store_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/store"
	"github.com/redis/go-redis/v9"
)

// TestUnsent: what was written to a Redis that stands still may yet be carried out; what no connection
// was made for was not sent, and what the breaker refuses neither.
func TestUnsent(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r, err := store.Open(store.Options{URL: s.URL, Timeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	ctx := context.Background()
	increment := func() error { return r.Do(ctx, redis.NewIntCmd(ctx, "incr", "n")) }
	var all sync.WaitGroup
	var sent, unsent atomic.Int64
	try := func() error {
		err := increment()
		if err == nil {
			sent.Add(1)
			return nil
		}
		all.Add(1)
		store.Sent(err, func(was bool) {
			defer all.Done()
			if was {
				sent.Add(1)
			} else {
				unsent.Add(1)
			}
		})
		return err
	}
	for range 3 {
		_ = try() // a busy machine may time out
	}
	s.Pause()
	for range 20 {
		if err := try(); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("while Redis stands still: %v", err)
		}
	}
	all.Wait()
	if unsent.Load() == 0 {
		t.Error("all was sent, though the breaker is open")
	}
	s.Resume()
	deadline := time.Now().Add(3 * time.Second)
	for {
		n, err := s.Client.Get(ctx, "n").Int64()
		if n == sent.Load() {
			break
		}
		if n > sent.Load() || time.Now().After(deadline) {
			t.Fatalf("%d were carried out and %d were sent; %v", n, sent.Load(), err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
