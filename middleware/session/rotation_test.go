package session_test

import (
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/session"
)

func TestTheIDIsReplacedOnceItIsOldEnough(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{RotateEvery: time.Minute}, func(t *testing.T, f *fleet) {
		var b browser
		b.login(t, f.instances[0], "42")
		first := b.value()
		f.clock.Advance(59 * time.Second)
		ref := b.get(t, f.instances[1]).session().Ref
		if b.value() != first {
			t.Fatal("rotated too early")
		}
		f.clock.Advance(time.Second)
		b.get(t, f.instances[1])
		if b.value() == first {
			t.Fatal("not rotated")
		}
		r := b.get(t, f.instances[0])
		wantUser(t, r, "42")
		if r.session().Ref != ref {
			t.Fatal("the reference did not survive the rotation")
		}
	})
}

func TestRotationUnderTwentyParallelRequestsMakesOneIDAndLogsNobodyOut(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{RotateEvery: time.Minute}, func(t *testing.T, f *fleet) {
		var b browser
		b.login(t, f.instances[0], "42")
		old := b.current()
		f.clock.Advance(2 * time.Minute)
		var (
			group sync.WaitGroup
			mu    sync.Mutex
			given = map[string]bool{}
		)
		for i := range 20 {
			group.Go(func() {
				tab := browser{cookie: old}
				r := tab.get(t, f.instances[i%2])
				if r.user() != "42" {
					t.Errorf("request %d was logged out", i)
				}
				mu.Lock()
				defer mu.Unlock()
				given[tab.value()] = true
				b.accept(tab.current())
			})
		}
		group.Wait()
		delete(given, old.Value)
		if len(given) != 1 {
			t.Fatalf("%d new IDs, want 1", len(given))
		}
		for given := range given {
			b.cookie.Value = given
		}
		wantUser(t, b.get(t, f.instances[0]), "42")
	})
}

func TestTheOldIDEndsThirtySecondsAfterTheNewOneCameBack(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{RotateEvery: time.Minute}, func(t *testing.T, f *fleet) {
		var b browser
		b.login(t, f.instances[0], "42")
		old := browser{cookie: b.current()}
		f.clock.Advance(time.Minute)
		b.get(t, f.instances[0]) // the new ID is issued, and not presented yet

		// However long that takes, the old one holds, and is answered with the
		// same new one.
		issued := b.value()
		for range 5 {
			f.clock.Advance(5 * time.Minute)
			again := browser{cookie: old.current()}
			wantUser(t, again.get(t, f.instances[1]), "42")
			if again.value() != issued {
				t.Fatal("an answer that was lost is repeated with another ID")
			}
		}

		f.clock.Advance(time.Second)
		wantUser(t, b.start(t, f.instances[1], optional), "42") // presented
		f.clock.Advance(29 * time.Second)
		during := browser{cookie: old.current()}
		wantUser(t, during.get(t, f.instances[0]), "42")
		if during.value() != old.value() {
			t.Fatal("an ID on its way out was renewed")
		}
		f.clock.Advance(2 * time.Second)
		wantUser(t, during.get(t, f.instances[0]), "-")
		wantUser(t, b.get(t, f.instances[0]), "42")
	})
}

func TestRequestsWithOldAndNewIDWriteTheSameData(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{RotateEvery: time.Minute}, func(t *testing.T, f *fleet) {
		var b browser
		b.login(t, f.instances[0], "42")
		inFlight := b.start(t, f.instances[0], optional)
		f.clock.Advance(time.Minute)
		b.get(t, f.instances[1])
		b.start(t, f.instances[1], optional).mustAnswer(session.HeaderMerge, `{"new":1}`)
		inFlight.mustAnswer(session.HeaderMerge, `{"old":1}`)
		wantData(t, b.get(t, f.instances[0]), `{"new":1,"old":1}`)
	})
}

func TestParallelRenewalsLeaveTheBrowserLoggedInWhicheverItKeeps(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{RotateEvery: time.Minute}, func(t *testing.T, f *fleet) {
		var b browser
		b.login(t, f.instances[0], "42")
		f.clock.Advance(time.Minute)
		// One request renews because the app says so, another because it is time.
		asked, due := browser{cookie: b.current()}, browser{cookie: b.current()}
		one, two := asked.start(t, f.instances[0], optional), due.start(t, f.instances[1], optional)
		one.mustAnswer(session.HeaderRenew, "?1")
		two.mustAnswer()
		for range 3 {
			wantUser(t, asked.get(t, f.instances[1]), "42")
			wantUser(t, due.get(t, f.instances[0]), "42")
			f.clock.Advance(40 * time.Second)
		}
	})
}

func TestARenewalOfAnIDInItsGraceHolds(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{RotateEvery: time.Hour}, func(t *testing.T, f *fleet) {
		var b browser
		b.login(t, f.instances[0], "42")
		slow := browser{cookie: b.current()}
		slowRequest := slow.start(t, f.instances[0], optional)
		b.start(t, f.instances[0], optional).mustAnswer(session.HeaderRenew, "?1")
		wantUser(t, b.get(t, f.instances[1]), "42") // the old ID's grace begins
		slowRequest.mustAnswer(session.HeaderRenew, "?1")
		f.clock.Advance(40 * time.Second)
		wantUser(t, slow.get(t, f.instances[1]), "42")
		f.clock.Advance(40 * time.Second)
		wantUser(t, slow.get(t, f.instances[0]), "42")
	})
}

func TestManyRotationsDoNotGrowTheSession(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{RotateEvery: time.Second, IdleTimeout: time.Hour}, func(t *testing.T, f *fleet) {
		var b browser
		b.login(t, f.instances[0], "42")
		for i := range 200 {
			f.clock.Advance(time.Second)
			wantUser(t, b.get(t, f.instances[i%2]), "42")
		}
		if f.server == nil {
			return
		}
		ctx := t.Context()
		for _, key := range f.server.Client.Keys(ctx, "*").Val() {
			if n := f.server.Client.MemoryUsage(ctx, key).Val(); n > 8<<10 {
				t.Errorf("%s takes %d bytes after 200 rotations", key, n)
			}
		}
	})
}

func TestALogoutEndsBothSessionsOfALoginUnderWay(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		for _, with := range []string{"old", "new"} {
			var b browser
			b.login(t, f.instances[0], "42")
			old := browser{cookie: b.current()}
			b.login(t, f.instances[0], "42")
			wantUser(t, b.get(t, f.instances[1]), "42") // the old one's grace begins
			fresh := browser{cookie: b.current()}
			leaving := &fresh
			if with == "old" {
				leaving = &old
			}
			stolenOld, stolenNew := browser{cookie: old.current()}, browser{cookie: fresh.current()}
			leaving.start(t, f.instances[0], logout).mustAnswer()
			wantUser(t, stolenOld.get(t, f.instances[1]), "-")
			wantUser(t, stolenNew.get(t, f.instances[1]), "-")
		}
	})
}

func TestALaterRenewalDoesNotProlongTheGraceOfAnEarlierID(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var b browser
		b.login(t, f.instances[0], "42")
		first := browser{cookie: b.current()}
		for range 2 {
			b.start(t, f.instances[0], optional).mustAnswer(session.HeaderRenew, "?1")
			wantUser(t, b.get(t, f.instances[1]), "42")
			f.clock.Advance(20 * time.Second)
		}
		wantUser(t, first.get(t, f.instances[0]), "-")
	})
}

func TestARenewalUnderWayOutlivesAnotherThatCameBackFirst(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var b browser
		b.login(t, f.instances[0], "42")
		slow := browser{cookie: b.current()}
		slowRequest := slow.start(t, f.instances[0], optional)
		b.start(t, f.instances[0], optional).mustAnswer(session.HeaderRenew, "?1")
		b.start(t, f.instances[1], optional).mustAnswer(session.HeaderRenew, "?1")
		slowRequest.mustAnswer(session.HeaderRenew, "?1") // the youngest ID of all, and not presented yet
		wantUser(t, b.get(t, f.instances[1]), "42")
		f.clock.Advance(40 * time.Second)
		wantUser(t, slow.get(t, f.instances[0]), "42")
	})
}
