package ratelimit_test

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/store"
)

// clock is a clock that a test sets.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) micros() int64 { return c.now().UnixMicro() }

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// openStore connects to Redis, for as long as the test lasts.
func openStore(t testing.TB, url string) *store.Redis {
	t.Helper()
	r, err := store.Open(store.Options{URL: url, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func newCounters(t testing.TB, o ratelimit.CountersOptions) *ratelimit.Counters {
	t.Helper()
	c, err := ratelimit.NewCounters(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func newLimiter(t testing.TB, c *ratelimit.Counters, limits ...ratelimit.Limit) *ratelimit.Limiter {
	t.Helper()
	l, err := ratelimit.New(ratelimit.Options{Limits: limits, Counters: c})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// from is a request from an address.
func from(addr string) *ratelimit.Request {
	return &ratelimit.Request{Addr: netip.MustParseAddr(addr), Method: "GET", Route: "r"}
}

func check(l *ratelimit.Limiter, r *ratelimit.Request) *ratelimit.Result {
	return l.Check(context.Background(), r, nil)
}

func limit(name string, a ratelimit.Algorithm, requests int64, window time.Duration) ratelimit.Limit {
	return ratelimit.Limit{Name: name, Algorithm: a, Requests: requests, Window: window}
}

// algorithms are all lines of the table, so that tests cover a new one by themselves.
var algorithms = func() (all []ratelimit.Algorithm) {
	for _, word := range ratelimit.Algorithm("").Values() {
		all = append(all, ratelimit.Algorithm(word))
	}
	return all
}()

// eventually polls until the condition holds.
func eventually(t testing.TB, within time.Duration, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// addressOf is the i-th of many addresses.
func addressOf(i int) string {
	return from4(i).String()
}

func from4(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10 + byte(i>>24), byte(i >> 16), byte(i >> 8), byte(i)})
}
