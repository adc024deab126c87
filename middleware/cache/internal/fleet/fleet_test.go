package fleet

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/store"
)

// patience is longer than anything here takes on the busiest machine.
const patience = time.Minute

// newMembers makes instances on one Redis. They poll so seldom that only a
// message wakes what waits.
func newMembers(t *testing.T, n int, server *redistest.Server) []*Member {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	members := make([]*Member, n)
	ended := make(chan struct{}, n)
	for i := range members {
		r, err := store.Open(store.Options{URL: server.URL, Timeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		members[i] = New(Options{
			Redis: r, Logger: slog.New(slog.DiscardHandler), View: NewView(Tag{}), Instance: NewToken(), Lease: patience,
			MinPoll: time.Hour, MaxPoll: time.Hour,
		})
		go func() { members[i].Follow(ctx); ended <- struct{}{} }()
	}
	t.Cleanup(func() {
		stop()
		for range members {
			<-ended
		}
	})
	channel := members[0].wakeChannel()
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		if server.Client.PubSubNumSub(ctx, channel).Val()[channel] == int64(n) {
			return members
		}
		if time.Now().After(deadline) {
			t.Fatal("not all instances listen")
		}
	}
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestEndOfALeaseWakesOtherInstancesByMessage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	members := newMembers(t, 2, server)
	ctx := testContext(t)
	index, key := members[0].Redis.Key("cache", "{a}", "i"), members[0].Redis.Key("cache", "{a}", "l")
	holder, waiter := members[0].NewTurn(), members[1].NewTurn()
	defer holder.Close()
	defer waiter.Close()
	held, answer := holder.Acquire(ctx, index, key, AnyVersion)
	if answer != Granted {
		t.Fatalf("answer %d", answer)
	}
	if _, answer := waiter.Acquire(ctx, index, key, AnyVersion); answer != Held {
		t.Fatalf("answer %d", answer)
	}
	held.Release()
	if err := waiter.Wait(ctx); err != nil {
		t.Fatalf("the end of the lease has woken no other instance: %v", err)
	}
	next, answer := waiter.Acquire(ctx, index, key, AnyVersion)
	if answer != Granted {
		t.Fatalf("answer %d", answer)
	}
	next.Open()
	if _, answer := holder.Acquire(ctx, index, key, AnyVersion); answer != Opened {
		t.Fatalf("answer %d", answer)
	}
	server.AssertEveryKeyExpires(t)
}

func TestLeaseIsNotGrantedWhenTheIndexHasChanged(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	m := newMembers(t, 1, server)[0]
	ctx := testContext(t)
	index, key := m.Redis.Key("cache", "{a}", "i"), m.Redis.Key("cache", "{a}", "l")
	if err := server.Client.HSet(ctx, index, "#", 3).Err(); err != nil {
		t.Fatal(err)
	}
	turn := m.NewTurn()
	defer turn.Close()
	if _, answer := turn.Acquire(ctx, index, key, 2); answer != IndexChanged {
		t.Fatalf("answer %d", answer)
	}
	held, answer := turn.Acquire(ctx, index, key, 3)
	if answer != Granted {
		t.Fatalf("answer %d", answer)
	}
	held.Release()
}

func TestPurgeIsInTheViewOfEveryMemberWhenItReturns(t *testing.T) {
	t.Parallel()
	members := newMembers(t, 2, redistest.Start(t))
	ctx := testContext(t)
	purged, other := Tag{1}, Tag{2}
	for _, m := range members {
		if err := m.Sync(ctx); err != nil {
			t.Fatal(err)
		}
	}
	before := members[1].View.Now()
	if err := members[0].Purge(ctx, []Tag{purged}, false); err != nil {
		t.Fatal(err)
	}
	// Purge returns as well when the other's lease has ended: then it does not
	// use its local tier before it has caught up.
	if !members[1].MayUseLocalTier() {
		if err := members[1].Sync(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for tag, want := range map[Tag]Validity{purged: Void, other: Intact} {
		var memo Checked
		if got := members[1].View.Check(before, []Tag{tag}, &memo); got != want {
			t.Errorf("tag %d: validity %d, want %d", tag[0], got, want)
		}
	}
}
