package ratelimit_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/ratelimit"
)

// floodBytes is the memory that the floods below overrun several times.
const floodBytes = 4 << 20

// flood is more keys than fit into floodBytes, several times.
const flood = 100_000

// askUncached is a check past the deny cache, as of an instance that has just forgotten its denials.
func askUncached(c *ratelimit.Counters, l *ratelimit.Limiter, r *ratelimit.Request) bool {
	c.ForgetDenials()
	return check(l, r).Allowed()
}

// A spent counter outlasts those of clients that have asked once, though it is the oldest and expires first.
func TestManyOtherClientsDoNotFreeAClientThatIsOverItsLimit(t *testing.T) {
	t.Parallel()
	for _, a := range algorithms {
		t.Run(string(a), func(t *testing.T) {
			t.Parallel()
			clk := newClock()
			c := newCounters(t, ratelimit.CountersOptions{MemoryBytes: floodBytes, Now: clk.now})
			l := newLimiter(t, c, limit("x", a, 3, time.Hour))
			spent, denied := from("192.0.2.1"), from("192.0.2.2")
			for range 3 {
				check(l, spent)
				check(l, denied)
			}
			if check(l, denied).Allowed() {
				t.Fatal("a fourth request is admitted")
			}
			r := from("192.0.2.3")
			for i := range flood {
				r.Addr = from4(i)
				clk.add(time.Millisecond)
				if !check(l, r).Allowed() {
					t.Fatal("a new address is denied")
				}
			}
			for _, r := range []*ratelimit.Request{spent, denied} {
				if askUncached(c, l, r) {
					t.Errorf("%v has spent its limit, and is admitted after %d requests of others", r.Addr, flood)
				}
			}
		})
	}
}

// One client with many values of a header gets rid of the counters of the limit by that header alone.
func TestALimitWithManyKeysDoesNotResetAnother(t *testing.T) {
	t.Parallel()
	byHeader := limit("by-header", ratelimit.SlidingWindow, 100, 24*time.Hour)
	byHeader.Key = []ratelimit.KeyPart{{Kind: ratelimit.KeyHeader, Name: "X-Tenant"}}
	login := limit("login", ratelimit.FixedWindow, 1000, time.Hour)
	login.Cost = 400 // far from its limit: its counters are of the lowest rank
	c := newCounters(t, ratelimit.CountersOptions{MemoryBytes: floodBytes})
	logins, tenants := newLimiter(t, c, login), newLimiter(t, c, byHeader)
	const clients = 1000
	for i := range clients {
		r := from("192.0.2.1")
		r.Addr = from4(i)
		check(logins, r)
	}
	r := from("192.0.2.1")
	r.Header = http.Header{}
	for i := range flood {
		r.Header.Set("X-Tenant", fmt.Sprint(i))
		for range 1 + i%2 {
			check(tenants, r)
		}
	}
	forgotten := 0
	for i := range clients {
		r := from("192.0.2.1")
		r.Addr = from4(i)
		if d := check(logins, r).Decisions(); d[0].Remaining != 200 {
			forgotten++
		}
	}
	if forgotten > 0 {
		t.Errorf("%d of %d logins are forgotten after %d values of a header", forgotten, clients, flood)
	}
}

// While others leave theirs unused, a limit takes their share as well; it comes back to them with their first requests.
func TestALimitTakesWhatOthersLeaveUnused(t *testing.T) {
	t.Parallel()
	c := newCounters(t, ratelimit.CountersOptions{MemoryBytes: floodBytes})
	one, other := newLimiter(t, c, limit("one", ratelimit.FixedWindow, 100, time.Hour)), newLimiter(t, c, limit("other", ratelimit.FixedWindow, 100, time.Hour))
	r := from("192.0.2.1")
	for i := range flood {
		r.Addr = from4(i)
		check(one, r)
	}
	alone, bytes := c.MemorySize()
	if bytes < floodBytes*9/10 {
		t.Errorf("a limit alone takes %d bytes of %d", bytes, floodBytes)
	}
	for i := range alone / 3 {
		r.Addr = from4(i)
		check(other, r)
	}
	kept := 0
	for i := range alone / 3 {
		r.Addr = from4(i)
		if check(other, r).Decisions()[0].Remaining == 98 {
			kept++
		}
	}
	if kept != alone/3 {
		t.Errorf("%d of %d counters of a limit that takes less than its share are kept", kept, alone/3)
	}
}

// Denials and bans of one limit do not push out those of another either.
func TestALimitWithManyDenialsDoesNotEndTheBansOfAnother(t *testing.T) {
	t.Parallel()
	clk := newClock()
	c := newCounters(t, ratelimit.CountersOptions{DenyCacheBytes: 1 << 20, Now: clk.now})
	login := limit("login", ratelimit.FixedWindow, 1, time.Minute)
	login.Ban = ratelimit.Ban{After: 3, For: time.Hour}
	byHeader := limit("by-header", ratelimit.FixedWindow, 1, 24*time.Hour)
	byHeader.Key = []ratelimit.KeyPart{{Kind: ratelimit.KeyHeader, Name: "X-Tenant"}}
	byHeader.Ban = ratelimit.Ban{After: 3, For: 240 * time.Hour}
	logins, tenants := newLimiter(t, c, login), newLimiter(t, c, byHeader)
	banned, almost := from("192.0.2.1"), from("192.0.2.2")
	for range 4 {
		check(logins, banned)
	}
	for range 3 {
		check(logins, almost)
	}
	r := from("192.0.2.3")
	r.Header = http.Header{}
	for i := range flood / 5 {
		r.Header.Set("X-Tenant", fmt.Sprint(i))
		for range 2 + 2*(i%2) { // two denials count towards a ban, four are banned
			check(tenants, r)
		}
	}
	if check(logins, almost).Allowed() {
		t.Error("a fourth request is admitted")
	}
	clk.add(2 * time.Minute)
	for _, r := range []*ratelimit.Request{banned, almost} {
		if check(logins, r).Allowed() {
			t.Errorf("%v is banned for an hour, and admitted after two minutes", r.Addr)
		}
	}
}

func TestDroppedCountersAreCountedAndLogged(t *testing.T) {
	t.Parallel()
	seen, log := &tally{}, &bytes.Buffer{}
	c := newCounters(t, ratelimit.CountersOptions{MemoryBytes: floodBytes, Observer: seen, Logger: slog.New(slog.NewTextHandler(log, nil))})
	l := newLimiter(t, c, limit("x", ratelimit.FixedWindow, 3, time.Hour))
	r := from("192.0.2.1")
	for i := range flood {
		r.Addr = from4(i)
		check(l, r)
	}
	held, _ := c.MemorySize()
	if n := seen.events["x dropped"]; n != flood-held {
		t.Errorf("%d counters are counted as dropped; %d keys came and %d are held", n, flood, held)
	}
	if !strings.Contains(log.String(), "limit=x") || !strings.Contains(log.String(), "memory.counters") || strings.Count(log.String(), "\n") > 60 {
		t.Errorf("the log says: %s", log)
	}
}

// What has expired goes without a word.
func TestExpiredCountersAreNotCountedAsDropped(t *testing.T) {
	t.Parallel()
	clk, seen := newClock(), &tally{}
	c := newCounters(t, ratelimit.CountersOptions{MemoryBytes: floodBytes, Observer: seen, Now: clk.now})
	l := newLimiter(t, c, limit("x", ratelimit.FixedWindow, 3, time.Minute))
	r := from("192.0.2.1")
	for i := range flood {
		r.Addr = from4(i)
		check(l, r)
		clk.add(20 * time.Millisecond) // 3,000 live at a time
	}
	if n := seen.events["x dropped"]; n > 0 {
		t.Errorf("%d counters are counted as dropped", n)
	}
}

func TestTheMemoryOfCountersChangesWithoutLosingThem(t *testing.T) {
	t.Parallel()
	c := newCounters(t, ratelimit.CountersOptions{MemoryBytes: floodBytes})
	l := newLimiter(t, c, limit("x", ratelimit.FixedWindow, 3, time.Hour))
	r := from("192.0.2.1")
	const clients = 2000
	for i := range clients {
		r.Addr = from4(i)
		check(l, r)
	}
	c.SetMemory(4 * floodBytes)
	c.SetMemory(floodBytes / 2)
	for i := range clients {
		r.Addr = from4(i)
		if d := check(l, r).Decisions(); d[0].Remaining != 1 {
			t.Fatalf("counter %d of %d is lost", i, clients)
		}
	}
	c.SetMemory(floodBytes / 16)
	if _, bytes := c.MemorySize(); bytes > floodBytes/16 {
		t.Errorf("%d bytes after the bound became %d", bytes, floodBytes/16)
	}
}

// The same store serves an outage of Redis.
func TestManyOtherClientsDoNotFreeAClientWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := newCounters(t, ratelimit.CountersOptions{Redis: impatient(t, s.URL), MemoryBytes: floodBytes})
	l := newLimiter(t, c, limit("x", ratelimit.SlidingWindow, 3, time.Hour))
	s.Stop()
	spent := from("192.0.2.1")
	for range 3 {
		if !check(l, spent).Allowed() {
			t.Fatal("denied")
		}
	}
	r := from("192.0.2.3")
	for i := range flood {
		r.Addr = from4(i)
		l.Check(context.Background(), r, nil)
	}
	if askUncached(c, l, spent) {
		t.Errorf("a client that has spent its limit is admitted after %d requests of others", flood)
	}
}
