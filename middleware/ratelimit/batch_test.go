package ratelimit_test

import (
	"context"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/redis/go-redis/v9"
)

func TestACheckTravelsWithWhatTheBatchHolds(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r := openStore(t, s.URL)
	c := newCounters(t, ratelimit.CountersOptions{Redis: r})
	l := newLimiter(t, c, limit("x", ratelimit.SlidingWindow, 1, time.Hour))
	ctx := context.Background()
	s.Client.Set(ctx, "session", "data", time.Minute)

	batch := r.NewBatch()
	session := redis.NewStringCmd(ctx, "get", "session")
	batch.Add(session)
	if !l.Check(ctx, from("192.0.2.1"), batch).Allowed() {
		t.Fatal("denied")
	}
	if batch.Pending() || session.Val() != "data" {
		t.Fatalf("the session did not travel along: %v", session)
	}

	l.Check(ctx, from("192.0.2.1"), nil) // denied, and remembered
	batch = r.NewBatch()
	batch.Add(redis.NewStringCmd(ctx, "get", "session"))
	if l.Check(ctx, from("192.0.2.1"), batch).Allowed() || !batch.Pending() {
		t.Fatal("a denial that is remembered went to Redis all the same")
	}
}

// A client that leaves while the check is under way is counted all the same,
// and is not taken for an outage.
func TestAClientThatLeavesDoesNotInterruptTheCheck(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, s.URL)})
	x := limit("x", ratelimit.SlidingWindow, 2, time.Hour)
	x.OnRedisError = ratelimit.Closed
	l := newLimiter(t, c, x)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for i := range 3 {
		o := l.Check(gone, from("192.0.2.1"), nil)
		if o.Unavailable() || o.Allowed() != (i < 2) {
			t.Fatalf("request %d: %+v", i+1, o.Decisions())
		}
	}
}
