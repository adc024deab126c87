package session_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/session"
)

func list(t *testing.T, m *session.Manager, user string) []session.Info {
	t.Helper()
	infos, err := m.List(context.Background(), user)
	if err != nil {
		t.Fatal(err)
	}
	return infos
}

func TestAUsersSessionsAreListedNewestFirst(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		start := f.clock.Now().Truncate(time.Millisecond)
		var one, two browser
		one.login(t, f.instances[0], "42")
		f.clock.Advance(time.Second)
		two.login(t, f.instances[1], "42")
		f.clock.Advance(5 * time.Minute)
		ref := one.get(t, f.instances[1]).session().Ref

		infos := list(t, f.instances[0], "42")
		if len(infos) != 2 || infos[1].Ref != ref {
			t.Fatalf("listed: %+v", infos)
		}
		older := infos[1]
		if older.User != "42" || older.Addr != "192.0.2.7" || older.Agent != "Test/1.0" ||
			!older.Created.Equal(start) || !older.Seen.Equal(start.Add(5*time.Minute+time.Second)) {
			t.Errorf("listed as %+v", older)
		}
		if strings.HasPrefix(one.value(), ref) && len(ref) >= len(one.value()) {
			t.Error("the reference is the token")
		}
		if others := list(t, f.instances[0], "43"); len(others) != 0 {
			t.Errorf("somebody else has %+v", others)
		}
	})
}

func TestRevocationHoldsAtTheNextRequestOnEveryInstance(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		ctx := context.Background()
		var one, two, other browser
		one.login(t, f.instances[0], "42")
		two.login(t, f.instances[0], "42")
		other.login(t, f.instances[0], "43")
		ref := one.get(t, f.instances[1]).session().Ref

		if found, err := f.instances[0].Revoke(ctx, ref); err != nil || !found {
			t.Fatalf("revoke: %v, %v", found, err)
		}
		wantUser(t, one.get(t, f.instances[1]), "-")
		wantUser(t, two.get(t, f.instances[1]), "42")
		if found, err := f.instances[0].Revoke(ctx, ref); err != nil || found {
			t.Fatalf("revoke again: %v, %v", found, err)
		}
		if found, err := f.instances[0].Revoke(ctx, "../*"); err != nil || found {
			t.Fatalf("revoke nonsense: %v, %v", found, err)
		}
		if n := len(list(t, f.instances[1], "42")); n != 1 {
			t.Fatalf("%d sessions are listed after the revocation", n)
		}
		if n, err := f.instances[1].RevokeUser(ctx, "42"); err != nil || n != 1 {
			t.Fatalf("revoke user: %d, %v", n, err)
		}
		wantUser(t, two.get(t, f.instances[0]), "-")
		wantUser(t, other.get(t, f.instances[0]), "43")
	})
}

func TestLogoutEndsOneSessionAndEverywhereAllOfTheUsers(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var here, there, third, other browser
		for _, b := range []*browser{&here, &there, &third} {
			b.login(t, f.instances[0], "42")
		}
		other.login(t, f.instances[0], "43")

		third.start(t, f.instances[1], optional).mustAnswer(session.HeaderLogout, "session")
		if third.current() != nil {
			t.Fatal("the logout left the cookie")
		}
		wantUser(t, there.get(t, f.instances[1]), "42")

		here.start(t, f.instances[1], optional).mustAnswer(session.HeaderLogout, "everywhere")
		wantUser(t, there.get(t, f.instances[0]), "-")
		wantUser(t, other.get(t, f.instances[0]), "43")
		if n := len(list(t, f.instances[0], "42")); n != 0 {
			t.Fatalf("%d sessions are left", n)
		}
	})
}

func TestALogoutRouteEndsTheSessionWhateverTheAppSays(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var b browser
		b.login(t, f.instances[0], "42")
		stolen := browser{cookie: b.current()}
		b.start(t, f.instances[0], logout).mustAnswer(session.HeaderMerge, `{"a":1}`)
		if b.current() != nil {
			t.Fatal("the cookie is still there")
		}
		wantUser(t, stolen.get(t, f.instances[1]), "-")
	})
}

func TestTheOldestSessionEndsWhereAUserHasTooMany(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{MaxPerUser: 3}, func(t *testing.T, f *fleet) {
		browsers := make([]browser, 5)
		for i := range browsers {
			browsers[i].login(t, f.instances[i%2], "42")
			f.clock.Advance(time.Second)
		}
		for i := range browsers {
			want := "42"
			if i < 2 {
				want = "-"
			}
			wantUser(t, browsers[i].get(t, f.instances[0]), want)
		}
		if n := len(list(t, f.instances[0], "42")); n != 3 {
			t.Fatalf("%d sessions are listed", n)
		}
		// Logging in again in one browser replaces its session and costs nobody
		// else's.
		for range 4 {
			browsers[4].login(t, f.instances[0], "42")
			browsers[4].get(t, f.instances[0])
			f.clock.Advance(time.Second)
		}
		wantUser(t, browsers[2].get(t, f.instances[0]), "42")
		wantUser(t, browsers[3].get(t, f.instances[0]), "42")
	})
}

func TestConcurrentLoginsNeverExceedTheMaximum(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{MaxPerUser: 4}, func(t *testing.T, f *fleet) {
		browsers := make([]browser, 24)
		var group sync.WaitGroup
		for i := range browsers {
			group.Go(func() {
				if err := browsers[i].start(t, f.instances[i%2], login).answer(session.HeaderLogin, "42"); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		live := 0
		for i := range browsers {
			if browsers[i].get(t, f.instances[0]).user() == "42" {
				live++
			}
		}
		if listed := len(list(t, f.instances[0], "42")); live == 0 || live > 4 || listed != live {
			t.Fatalf("%d sessions live, %d listed, 4 allowed", live, listed)
		}
	})
}

func TestTheIndexForgetsWhatHasExpired(t *testing.T) {
	t.Parallel()
	f := redisFleet(t, session.Settings{IdleTimeout: time.Minute})
	ctx := context.Background()
	for range 5 {
		new(browser).login(t, f.instances[0], "42")
	}
	sessions := f.server.Client.Keys(ctx, "headgate:session:*").Val()
	if len(sessions) != 5 {
		t.Fatalf("keys: %v", sessions)
	}
	f.server.Client.Del(ctx, sessions[:3]...) // as Redis does when their time has come
	if n := len(list(t, f.instances[1], "42")); n != 2 {
		t.Fatalf("%d sessions are listed", n)
	}
	index := f.server.Client.Keys(ctx, "headgate:session-user:*").Val()
	if len(index) != 1 || f.server.Client.ZCard(ctx, index[0]).Val() != 2 {
		t.Fatalf("the index %v still names the dead", index)
	}
	f.server.AssertEveryKeyExpires(t)
}

func TestALostIndexIsRepairedByUse(t *testing.T) {
	t.Parallel()
	f := redisFleet(t, session.Settings{})
	ctx := context.Background()
	var b browser
	b.login(t, f.instances[0], "42")
	f.server.Client.Del(ctx, f.server.Client.Keys(ctx, "headgate:session-user:*").Val()...)
	f.clock.Advance(2 * time.Minute)
	b.get(t, f.instances[1])
	if n := len(list(t, f.instances[0], "42")); n != 1 {
		t.Fatalf("%d sessions are listed", n)
	}
}

func TestACrowdOfAnonymousSessionsDoesNotPushOutAUser(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{MemoryBytes: 1 << 20})
	var b browser
	b.login(t, m, "42")
	for i := range 3000 {
		new(browser).start(t, m, optional).mustAnswer(session.HeaderMerge, fmt.Sprintf(`{"pad":"%s%d"}`, strings.Repeat("x", 500), i))
	}
	wantUser(t, b.get(t, m), "42")
}
