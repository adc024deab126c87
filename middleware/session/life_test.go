package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/session"
)

func TestLoginAtOneInstanceHoldsAtAll(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var b browser
		wantUser(t, b.get(t, f.instances[0]), "-")
		b.login(t, f.instances[0], "42")
		wantUser(t, b.get(t, f.instances[0]), "42")
		wantUser(t, b.get(t, f.instances[1]), "42")
	})
}

func TestAnonymousDataIsKeptAtLoginAndAnotherUsersNever(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var b browser
		b.start(t, f.instances[0], optional).mustAnswer(session.HeaderMerge, `{"cart":3}`)
		anonymous := b.value()
		r := b.get(t, f.instances[1])
		wantUser(t, r, "")
		wantData(t, r, `{"cart":3}`)

		b.login(t, f.instances[1], "alice")
		if b.value() == anonymous {
			t.Fatal("the ID was not renewed at login")
		}
		r = b.get(t, f.instances[0])
		wantUser(t, r, "alice")
		wantData(t, r, `{"cart":3}`)

		b.login(t, f.instances[0], "alice")
		wantData(t, b.get(t, f.instances[0]), `{"cart":3}`)

		b.login(t, f.instances[0], "bob")
		r = b.get(t, f.instances[0])
		wantUser(t, r, "bob")
		wantData(t, r, `{}`)
	})
}

func TestMergeIsAppliedWithTheLogin(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var b browser
		b.start(t, f.instances[0], optional).mustAnswer(session.HeaderMerge, `{"cart":3,"step":1}`)
		b.start(t, f.instances[0], login).mustAnswer(session.HeaderLogin, "42", session.HeaderMerge, `{"step":null,"role":"buyer"}`)
		wantData(t, b.get(t, f.instances[1]), `{"cart":3,"role":"buyer"}`)
	})
}

func TestAMergeThatLeavesNothingMakesNoSession(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var b browser
		b.start(t, f.instances[0], optional).mustAnswer(session.HeaderMerge, `{"cart":null}`)
		if b.current() != nil {
			t.Fatalf("got a cookie for nothing: %v", b.current())
		}
	})
}

// Session fixation: redisstore takes any cookie value as the ID of a new session.
func TestAnIDThatTheClientMadeUpIsNeverUsed(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		// Well-formed, so that only the store can tell.
		planted := strings.Repeat("A", 67)
		for name, headers := range map[string][]string{
			"login": {session.HeaderLogin, "victim"},
			"merge": {session.HeaderMerge, `{"a":1}`},
		} {
			victim := browser{cookie: &http.Cookie{Name: "__Host-session", Value: planted}}
			r := victim.start(t, f.instances[0], login)
			wantUser(t, r, "-")
			r.mustAnswer(headers...)
			if victim.value() == planted || strings.HasPrefix(victim.value(), planted[:24]) {
				t.Fatalf("%s: the planted ID was taken over: %s", name, victim.value())
			}
			attacker := browser{cookie: &http.Cookie{Name: "__Host-session", Value: planted}}
			wantUser(t, attacker.get(t, f.instances[1]), "-")
		}
	})
}

// An attacker can obtain a real anonymous session and plant that. It must stay
// anonymous when the victim logs in with it.
func TestAPlantedAnonymousSessionDoesNotBecomeTheVictims(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var attacker browser
		attacker.start(t, f.instances[0], optional).mustAnswer(session.HeaderMerge, `{"cart":1}`)
		victim := browser{cookie: attacker.current()}
		victim.login(t, f.instances[0], "victim")
		wantUser(t, attacker.get(t, f.instances[1]), "")
		wantUser(t, victim.get(t, f.instances[1]), "victim")
		wantUser(t, attacker.get(t, f.instances[1]), "")
		f.clock.Advance(31 * time.Second)
		wantUser(t, attacker.get(t, f.instances[0]), "-")
		wantUser(t, victim.get(t, f.instances[0]), "victim")
	})
}

func TestALostLoginAnswerLosesNothing(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var b browser
		b.start(t, f.instances[0], optional).mustAnswer(session.HeaderMerge, `{"cart":3}`)
		before := b.current()
		b.login(t, f.instances[0], "42")
		b.cookie = before // the answer never came
		f.clock.Advance(10 * time.Minute)
		r := b.get(t, f.instances[1])
		wantUser(t, r, "")
		wantData(t, r, `{"cart":3}`)
		b.login(t, f.instances[1], "42")
		wantData(t, b.get(t, f.instances[0]), `{"cart":3}`)
	})
}

// redisstore saves with a blind SET, which brings back what a logout removed.
func TestARequestInFlightDoesNotReviveALoggedOutSession(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		for name, headers := range map[string][]string{
			"merge": {session.HeaderMerge, `{"a":1}`},
			"renew": {session.HeaderRenew, "?1"},
		} {
			var b browser
			b.login(t, f.instances[0], "42")
			stolen := browser{cookie: b.current()}
			inFlight := b.start(t, f.instances[1], optional)
			wantUser(t, inFlight, "42")
			b.start(t, f.instances[0], logout).mustAnswer()
			if b.current() != nil {
				t.Fatalf("%s: the logout left the cookie", name)
			}
			if err := inFlight.answer(headers...); !errors.Is(err, session.ErrEnded) || session.Status(err) != 409 {
				t.Fatalf("%s: a change of an ended session says %v", name, err)
			}
			wantUser(t, stolen.get(t, f.instances[0]), "-")
			wantUser(t, stolen.get(t, f.instances[1]), "-")
		}
	})
}

func TestATouchDoesNotReviveALoggedOutSession(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var b browser
		b.login(t, f.instances[0], "42")
		f.clock.Advance(2 * time.Minute) // a touch is due
		stolen := browser{cookie: b.current()}
		b.start(t, f.instances[0], logout).mustAnswer()
		wantUser(t, stolen.get(t, f.instances[1]), "-")
		wantUser(t, stolen.get(t, f.instances[1]), "-")
	})
}

func TestFiftyConcurrentMergesThroughBothInstancesAreAllKept(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var b browser
		b.login(t, f.instances[0], "42")
		requests := make([]*request, 50)
		for i := range requests {
			requests[i] = b.start(t, f.instances[i%2], optional)
		}
		var group sync.WaitGroup
		for i, r := range requests {
			group.Go(func() {
				if err := r.answer(session.HeaderMerge, fmt.Sprintf(`{"k%d":{"n":%d}}`, i, i)); err != nil {
					t.Errorf("merge %d: %v", i, err)
				}
			})
		}
		group.Wait()
		var data map[string]map[string]int
		if err := json.Unmarshal([]byte(b.get(t, f.instances[0]).data()), &data); err != nil {
			t.Fatal(err)
		}
		for i := range requests {
			if data[fmt.Sprintf("k%d", i)]["n"] != i {
				t.Errorf("the merge of k%d was lost", i)
			}
		}
	})
}

func TestNumbersComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var b browser
		b.start(t, f.instances[0], optional).mustAnswer(session.HeaderMerge, `{"big":9007199254740993,"tiny":1e-400,"money":10.10}`)
		b.start(t, f.instances[1], optional).mustAnswer(session.HeaderMerge, `{"more":1}`)
		wantData(t, b.get(t, f.instances[0]), `{"big":9007199254740993,"money":10.10,"more":1,"tiny":1e-400}`)
	})
}

func TestAnIdleSessionEndsAndAUsedOneDoesNot(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{IdleTimeout: 10 * time.Minute}, func(t *testing.T, f *fleet) {
		var used, idle browser
		used.login(t, f.instances[0], "used")
		idle.login(t, f.instances[0], "idle")
		for i := range 12 {
			f.clock.Advance(time.Minute)
			if i < 10 {
				wantUser(t, used.get(t, f.instances[i%2]), "used")
			}
		}
		wantUser(t, used.get(t, f.instances[0]), "used")
		wantUser(t, idle.get(t, f.instances[0]), "-")
	})
}

func TestTheAbsoluteTimeoutSurvivesRenewals(t *testing.T) {
	t.Parallel()
	settings := session.Settings{IdleTimeout: time.Hour, AbsoluteTimeout: 3 * time.Hour, RotateEvery: 20 * time.Minute}
	onEachStore(t, settings, func(t *testing.T, f *fleet) {
		var b browser
		b.login(t, f.instances[0], "42")
		ids := map[string]bool{}
		for range 17 {
			f.clock.Advance(10 * time.Minute)
			r := b.start(t, f.instances[1], optional)
			wantUser(t, r, "42")
			r.mustAnswer(session.HeaderRenew, "?1")
			ids[b.value()] = true
			left := 3*time.Hour - f.clock.Now().Sub(r.session().Created)
			if got := time.Duration(b.current().MaxAge) * time.Second; got != left {
				t.Fatalf("the renewed cookie lives for %v, the session for %v", got, left)
			}
		}
		if len(ids) != 17 {
			t.Fatalf("17 renewals gave %d IDs", len(ids))
		}
		f.clock.Advance(11 * time.Minute)
		wantUser(t, b.get(t, f.instances[0]), "-")
	})
}

func TestAShorterTimeoutOfANewGenerationHoldsAtOnce(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{IdleTimeout: time.Hour}, func(t *testing.T, f *fleet) {
		var b browser
		b.login(t, f.instances[0], "42")
		f.clock.Advance(10 * time.Minute)
		shorter, err := f.instances[0].With(session.Settings{IdleTimeout: 5 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		wantUser(t, b.get(t, f.instances[0]), "42")
		f.clock.Advance(10 * time.Minute)
		wantUser(t, b.get(t, shorter), "-")
	})
}

func TestRedisExpiresWhatNobodyAsksFor(t *testing.T) {
	t.Parallel()
	f := redisFleet(t, session.Settings{IdleTimeout: 200 * time.Millisecond, AbsoluteTimeout: 300 * time.Millisecond})
	var b browser
	b.login(t, f.instances[0], "42")
	b.start(t, f.instances[0], optional).mustAnswer(session.HeaderMerge, `{"a":1}`)
	f.server.AssertEveryKeyExpires(t)
	deadline := time.Now().Add(10 * time.Second)
	for f.server.Client.DBSize(context.Background()).Val() > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %v", f.server.Client.Keys(context.Background(), "*").Val())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A change that meets a session which has ended since the request came is a conflict with
// that end, and no outage: 503 is for Redis alone.
func TestAChangeOfASessionThatEndedMeanwhileIsAConflict(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		ends := map[string]func(t *testing.T, b *browser){
			"a logout":     func(t *testing.T, b *browser) { b.start(t, f.instances[1], logout).mustAnswer() },
			"a revocation": func(t *testing.T, b *browser) { _, _ = f.instances[1].RevokeUser(t.Context(), "42") },
			"its timeout":  func(*testing.T, *browser) { f.clock.Advance(13 * time.Hour) },
		}
		changes := map[string][]string{
			"a merge":               {session.HeaderMerge, `{"a":1}`},
			"a renewal":             {session.HeaderRenew, "?1"},
			"a merge and a renewal": {session.HeaderMerge, `{"a":1}`, session.HeaderRenew, "?1"},
		}
		for ending, end := range ends {
			for change, headers := range changes {
				var b browser
				b.login(t, f.instances[0], "42")
				r := b.start(t, f.instances[0], optional)
				end(t, &browser{cookie: b.current()})
				err := r.answer(headers...)
				refusal := session.Refuse(err)
				if !errors.Is(err, session.ErrEnded) || refusal.Status != 409 || refusal.Header.Get("Retry-After") != "" ||
					!strings.Contains(refusal.Reason, "ended meanwhile") {
					t.Errorf("%s after %s: %v, answered %d %q, Retry-After %q", change, ending, err,
						refusal.Status, refusal.Reason, refusal.Header.Get("Retry-After"))
				}
			}
		}
	})
}
