package ratelimit_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/ratelimit"
)

// eventuallySo polls for what happens in the background.
func eventuallySo(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

// listed returns the key of a limit in the list of an instance; nil if it is not there.
func listed(t testing.TB, c *ratelimit.Counters, limit string, values ...string) *ratelimit.DeniedKey {
	t.Helper()
	all, err := c.DeniedKeys(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range all.Keys {
		if k.Limit == limit && slices.Equal(k.Values, values) {
			return &k
		}
	}
	return nil
}

func keyedBy(t testing.TB, name string, parts ...string) ratelimit.Limit {
	t.Helper()
	l := limit(name, ratelimit.FixedWindow, 1, time.Hour)
	var err error
	if l.Key, err = ratelimit.ParseKey(parts...); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestDeniedKeysAreReadableAndTellNoSecret(t *testing.T) {
	t.Parallel()
	c := newCounters(t, ratelimit.CountersOptions{})
	r := ratelimit.Request{
		Addr: netip.MustParseAddr("2001:db8::1"), Bucket: netip.MustParseAddr("2001:db8::"), Route: "login", Method: "HEAD", Host: "Shop.Example:8080",
		Header: http.Header{"X-Token": {"sk-secret-token-value"}, "X-Short": {"1234"}, "X-Odd": {"a\x00 b\tcdefghijklm"}, "Cookie": {"sid=0123456789abcdef"}}, Query: "q=hunter2hunter2",
		Subject: ratelimit.Subject{Client: "acme", User: "müller 1", Session: "ref1"},
	}
	for _, tt := range []struct {
		key  []string
		want []string // of masked values: what is shown, and ~
	}{
		{[]string{"ip"}, []string{"2001:db8::"}},
		{[]string{"client"}, []string{"acme"}},
		{[]string{"user"}, []string{"müller 1"}},
		{[]string{"session"}, []string{"ref1"}},
		{[]string{"route", "host", "method"}, []string{"login", "shop.example", "GET"}},
		{[]string{"header:X-Token"}, []string{"sk-s~"}},
		{[]string{"header:X-Short"}, []string{"1~"}},
		{[]string{"header:X-Odd"}, []string{"a..b~"}},
		{[]string{"header:X-Missing"}, []string{"ip:2001:db8::"}},
		{[]string{"cookie:sid"}, []string{"0123~"}},
		{[]string{"query:q"}, []string{"hunt~"}},
		{[]string{"ip", "route"}, []string{"2001:db8::", "login"}},
	} {
		name := strings.NewReplacer(":", "-").Replace(strings.Join(tt.key, "."))
		l := newLimiter(t, c, keyedBy(t, name, tt.key...))
		for range 2 {
			l.Check(context.Background(), &r, nil)
		}
		all, err := c.DeniedKeys(context.Background())
		if err != nil || all.Fleet {
			t.Fatal(err, all.Fleet)
		}
		i := slices.IndexFunc(all.Keys, func(k ratelimit.DeniedKey) bool { return k.Limit == name })
		if i < 0 || len(all.Keys[i].Values) != len(tt.want) {
			t.Fatalf("%v: %+v", tt.key, all.Keys)
		}
		k := all.Keys[i]
		for j, want := range tt.want {
			got, masked := k.Values[j], strings.HasSuffix(want, "~")
			if masked {
				got = got[:max(0, len(got)-8)]
			}
			if got != want || ratelimit.IsMasked(k.Values[j]) != masked {
				t.Errorf("%v: %q, want %q", tt.key, k.Values[j], want)
			}
		}
		if k.Denials != 1 || k.Banned || k.RetryAfter <= 0 || k.Last.IsZero() {
			t.Errorf("%v: %+v", tt.key, k)
		}
		// What is listed is what a reset takes.
		found, err := c.ResetListed(context.Background(), keyedBy(t, name, tt.key...), k.Values...)
		if err != nil || !found || !l.Check(context.Background(), &r, nil).Allowed() {
			t.Errorf("%v: not reset: %v %v", tt.key, found, err)
		}
		if listed(t, c, name, k.Values...) != nil {
			t.Errorf("%v: what was reset is listed", tt.key)
		}
	}
}

// An operator sees which account is being guessed at, in the words that a reset takes.
func TestDeniedAccountsAreListedInFull(t *testing.T) {
	t.Parallel()
	c := newCounters(t, ratelimit.CountersOptions{})
	x := byAccount(ratelimit.FixedWindow, 1)
	l := newLimiter(t, c, x)
	for range 2 {
		attempt(l, "192.0.2.1", "alice@shop.example", "", 401)
		attempt(l, "192.0.2.1", "alice@shop.example", "d1", 401)
	}
	for _, value := range []string{"alice@shop.example", "device:d1:alice@shop.example"} {
		if listed(t, c, x.Name, value) == nil {
			t.Errorf("%s is not listed", value)
			continue
		}
		if found, err := c.ResetListed(context.Background(), x, value); err != nil || !found || listed(t, c, x.Name, value) != nil {
			t.Errorf("%s is not reset: %t, %v", value, found, err)
		}
	}
	if !attempt(l, "192.0.2.1", "alice@shop.example", "", 401).Allowed() || !attempt(l, "192.0.2.1", "alice@shop.example", "d1", 401).Allowed() {
		t.Error("what was reset is denied")
	}
}

// TestADenialAnywhereIsListedEverywhere, and a reset anywhere lets the key in everywhere.
func TestADenialAnywhereIsListedEverywhere(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	a, b := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, redis.URL)}), newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, redis.URL)})
	ctx := context.Background()
	byToken := keyedBy(t, "tokens", "header:X-Token")
	token := func() *ratelimit.Request {
		return &ratelimit.Request{Addr: netip.MustParseAddr("192.0.2.9"), Header: http.Header{"X-Token": {"sk-secret-token-value"}}}
	}
	byIP := keyedBy(t, "per-ip", "ip")
	atA, atB := newLimiter(t, a, byIP, byToken), newLimiter(t, b, byIP, byToken)
	if !atA.Check(ctx, token(), nil).Allowed() {
		t.Fatal("denied")
	}
	if n := redis.Client.Exists(ctx, "headgate:{denials}:top").Val(); n != 0 {
		t.Error("something is published, and nothing is denied")
	}
	for range 3 {
		if atA.Check(ctx, token(), nil).Allowed() || atB.Check(ctx, token(), nil).Allowed() {
			t.Fatal("admitted")
		}
	}
	for _, c := range []*ratelimit.Counters{a, b} {
		eventuallySo(t, "the denials of both instances are listed", func() bool {
			k := listed(t, c, "per-ip", "192.0.2.9")
			return k != nil && k.Denials == 6 && k.RetryAfter > 0
		})
	}
	all, err := b.DeniedKeys(ctx)
	if err != nil || !all.Fleet || len(all.Keys) != 2 {
		t.Fatalf("%v %+v", err, all)
	}
	redis.AssertEveryKeyExpires(t)
	for _, k := range all.Keys {
		l := byIP
		if k.Limit == "tokens" {
			l = byToken
		}
		if found, err := b.ResetListed(ctx, l, k.Values...); !found || err != nil {
			t.Errorf("%v %v", found, err)
		}
	}
	eventuallySo(t, "the deny cache of the other instance lets it in", func() bool { return atA.Check(ctx, token(), nil).Allowed() })
	eventuallySo(t, "what was reset is not listed", func() bool {
		all, err := b.DeniedKeys(ctx)
		return err == nil && len(all.Keys) == 0
	})
	redis.Stop()
	if all, err := b.DeniedKeys(ctx); err == nil || all.Fleet {
		t.Errorf("without Redis: %v %+v", err, all)
	}
}

func TestBansAreListedWithTheirEndAndOutliveTheInstance(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	ctx := context.Background()
	first, err := ratelimit.NewCounters(ratelimit.CountersOptions{Redis: openStore(t, redis.URL)})
	if err != nil {
		t.Fatal(err)
	}
	l := keyedBy(t, "logins", "ip", "route")
	l.Ban = ratelimit.Ban{After: 3, For: time.Hour}
	limiter := newLimiter(t, first, l)
	who := &ratelimit.Request{Addr: netip.MustParseAddr("192.0.2.9"), Route: "login"}
	for range 5 {
		limiter.Check(ctx, who, nil)
	}
	second := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, redis.URL)})
	isBanned := func() bool {
		k := listed(t, second, "logins", "192.0.2.9", "login")
		return k != nil && k.Banned && k.RetryAfter > 59*time.Minute-2*time.Minute && k.RetryAfter <= time.Hour
	}
	eventuallySo(t, "the ban is listed", isBanned)
	first.Close()
	if err := redis.Client.Del(ctx, "headgate:{denials}:top").Err(); err != nil { // as it goes by itself after ten minutes
		t.Fatal(err)
	}
	if !isBanned() {
		t.Error("the ban is not listed any more")
	}
	redis.AssertEveryKeyExpires(t)
	if err := second.Reset(ctx, l, "192.0.2.9", "login"); err != nil {
		t.Fatal(err)
	}
	if listed(t, second, "logins", "192.0.2.9", "login") != nil {
		t.Error("a ban that was reset is listed")
	}
	if !newLimiter(t, second, l).Check(ctx, who, nil).Allowed() {
		t.Error("it is in force")
	}
}

func TestTheListOfDeniedKeysIsBounded(t *testing.T) {
	t.Parallel()
	clock := newClock()
	c := newCounters(t, ratelimit.CountersOptions{Now: clock.now})
	l := keyedBy(t, "per-ip", "ip")
	l.Ban = ratelimit.Ban{After: 1, For: time.Minute}
	limiter := newLimiter(t, c, l)
	for i := range 3000 {
		r := from(fmt.Sprintf("198.18.%d.%d", i/256, i%256))
		limiter.Check(context.Background(), r, nil)
		limiter.Check(context.Background(), r, nil)
	}
	all, err := c.DeniedKeys(context.Background())
	if err != nil || len(all.Keys) < 1024 || len(all.Keys) > 1024+64 {
		t.Errorf("%v, %d keys", err, len(all.Keys))
	}
	clock.add(2 * time.Hour) // bans and windows are over
	if all, _ := c.DeniedKeys(context.Background()); len(all.Keys) != 0 {
		t.Errorf("%d keys are listed when nobody is denied", len(all.Keys))
	}
}
