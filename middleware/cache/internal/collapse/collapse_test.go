package collapse

import (
	"bytes"
	"context"
	"errors"
	"testing"
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
