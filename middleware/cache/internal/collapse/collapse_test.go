package collapse

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestOnlyTheFirstRequestLeads(t *testing.T) {
	t.Parallel()
	g := NewGroup[string, int]()
	f, leads := g.Join(context.Background(), "a")
	if !leads || f.HadFollowers() {
		t.Fatal("the first request follows")
	}
	if same, leads := g.Join(context.Background(), "a"); leads || same != f || !f.HadFollowers() {
		t.Error("the second request does not follow the first")
	}
	if g.JoinExisting("b") != nil {
		t.Error("a flight for another key was joined")
	}
	if g.Unshared(context.Background(), "a") == f {
		t.Error("an unshared flight is the shared one")
	}
	g.Remove(f)
	if _, leads := g.Join(context.Background(), "a"); !leads {
		t.Error("a removed flight was joined")
	}
}

func TestFlightWithoutUsersGoesOnIfItMayBeStored(t *testing.T) {
	t.Parallel()
	for name, kept := range map[string]bool{"kept": true, "passed on": false} {
		g := NewGroup[string, int]()
		client, leave := context.WithCancel(context.Background())
		f, _ := g.Join(client, "a")
		leave()
		if f.Context().Err() != nil {
			t.Fatal("the flight ends with its client")
		}
		body := NewStream(NewBudget(1<<20), 1<<20, -1, kept)
		f.Resolve(1, body, body.Join())
		f.LeaderDone()
		f.Leave()
		if going := f.Context().Err() == nil; going != kept {
			t.Errorf("%s: the flight goes on: %v", name, going)
		}
		f.End()
		f.Cancel()
	}
}

func TestStreamIsReadFromItsBeginningWhileItIsKept(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	budget := NewBudget(1 << 20)
	s := NewStream(budget, 1<<20, -1, true)
	early := s.Join()
	if err := s.Write(ctx, []byte("one ")); err != nil {
		t.Fatal(err)
	}
	late := s.Join()
	if err := s.Write(ctx, []byte("two")); err != nil {
		t.Fatal(err)
	}
	if chunks, size, ok := s.Complete(); !ok || size != 7 || string(bytes.Join(chunks, nil)) != "one two" {
		t.Errorf("%q, %d, %v", chunks, size, ok)
	}
	s.Finish(nil, nil)
	for _, r := range []*Reader{early, late} {
		var got []byte
		for {
			p, event := r.Next(ctx)
			if event == Completed {
				break
			}
			if event != Data {
				t.Fatalf("event %d", event)
			}
			got = append(got, p...)
		}
		if string(got) != "one two" {
			t.Errorf("%q", got)
		}
		r.Leave()
	}
	if n := budget.Used(); n != 0 {
		t.Errorf("%d bytes of the budget are still taken", n)
	}
}

func TestStreamThatOutgrowsItsLimitIsPassedOn(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := NewStream(NewBudget(1<<20), 4, -1, true)
	r := s.Join()
	if err := s.Write(ctx, []byte("12345")); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := s.Complete(); ok || s.Kept() {
		t.Error("it is still kept")
	}
	if p, event := r.Next(ctx); event != Data || string(p) != "12345" {
		t.Errorf("%q, event %d", p, event)
	}
	r.Leave()
	if err := s.Write(ctx, []byte("6")); err == nil {
		t.Error("it is written for no client")
	}
	s.Finish(errors.New("origin lost"), nil)
	if s.Join() != nil {
		t.Error("a stream without its beginning was joined")
	}
}

// A flight without users goes on for a while: shortly if its end is not in sight.
func TestFlightWithoutUsersIsBoundedInTime(t *testing.T) {
	t.Parallel()
	const sized, unsized = 10, -1
	for name, tc := range map[string]struct {
		before func(f *Flight[string, int]) // the head comes
		after  func(f *Flight[string, int])
		ends   time.Duration // after the last user has left
	}{
		"before the head":        {ends: 15 * time.Second},
		"no length":              {before: settle(unsized), ends: 15 * time.Second},
		"a length":               {before: settle(sized), ends: time.Minute},
		"no length, later":       {after: delayed(settle(unsized)), ends: 15 * time.Second},
		"a length, later":        {after: delayed(settle(sized)), ends: 10*time.Second + time.Minute},
		"a user, later":          {after: delayed(comeAndGo), ends: 25 * time.Second},
		"a user, no length":      {before: settle(unsized), after: delayed(comeAndGo), ends: 25 * time.Second},
		"not to be stored":       {before: func(f *Flight[string, int]) { resolve(f, unsized, false) }},
		"not to be stored, late": {after: delayed(func(f *Flight[string, int]) { resolve(f, sized, false) }), ends: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := NewGroup[string, int]()
				f, _ := g.Join(context.Background(), "a")
				if tc.before != nil {
					tc.before(f)
				}
				f.LeaderDone()
				left := time.Now()
				f.Leave()
				if tc.after != nil {
					tc.after(f)
				}
				<-f.Context().Done()
				if d := time.Since(left); d != tc.ends {
					t.Errorf("it ends after %v, want %v", d, tc.ends)
				}
				f.End()
				if n := g.detached.Load(); n != 0 {
					t.Errorf("%d flights count as detached", n)
				}
			})
		})
	}
}

// A flight in the background waits for the head as long as the origin has for it, and is then like others.
func TestFlightInTheBackgroundIsBoundedFromItsHeadOn(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		then func(f *Flight[string, int])
		ends time.Duration
	}{
		"no head":   {func(*Flight[string, int]) {}, time.Minute},
		"no length": {settle(-1), 45 * time.Second},
		"a length":  {settle(10), 90 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, _ := NewGroup[string, int]().Join(context.Background(), "a")
				begun := time.Now()
				f.Background()
				time.Sleep(30 * time.Second)
				tc.then(f)
				<-f.Context().Done()
				if d := time.Since(begun); d != tc.ends {
					t.Errorf("it ends after %v, want %v", d, tc.ends)
				}
			})
		})
	}
}

func resolve(f *Flight[string, int], length int64, kept bool) {
	body := NewStream(NewBudget(1<<20), 1<<20, length, kept)
	f.Resolve(1, body, body.Join())
}

func settle(length int64) func(*Flight[string, int]) {
	return func(f *Flight[string, int]) { resolve(f, length, true) }
}

func delayed(do func(*Flight[string, int])) func(*Flight[string, int]) {
	return func(f *Flight[string, int]) { time.Sleep(10 * time.Second); do(f) }
}

func comeAndGo(f *Flight[string, int]) {
	f.group.JoinExisting("a")
	f.Leave()
}
