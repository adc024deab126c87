package ratelimit_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/ratelimit"
)

// TestABanOutlastsAnEditOfTheLimit: a ban belongs to the limit's name and the key. What is
// counted starts clean.
func TestABanOutlastsAnEditOfTheLimit(t *testing.T) {
	t.Parallel()
	test := func(t *testing.T, c, other *ratelimit.Counters) {
		for name, edit := range map[string]func(*ratelimit.Limit){
			"window":    func(l *ratelimit.Limit) { l.Window = 2 * time.Hour },
			"requests":  func(l *ratelimit.Limit) { l.Requests = 200 },
			"algorithm": func(l *ratelimit.Limit) { l.Algorithm = ratelimit.TokenBucket },
			"cost":      func(l *ratelimit.Limit) { l.Cost = 2 },
			"ban":       func(l *ratelimit.Limit) { l.Ban = ratelimit.Ban{After: 9, For: time.Minute} },
			"a plan":    func(l *ratelimit.Limit) { l.Plans = map[string]int64{"gold": 50} },
		} {
			x := limit("edit-"+strings.ReplaceAll(name, " ", "-"), ratelimit.SlidingWindow, 2, time.Hour)
			x.Ban = ratelimit.Ban{After: 3, For: 3 * time.Hour}
			x.Key = []ratelimit.KeyPart{{Kind: ratelimit.KeyIP}, {Kind: ratelimit.KeyRoute}}
			l := newLimiter(t, c, x)
			for range 5 {
				check(l, from("192.0.2.1"))
			}
			check(l, from("192.0.2.2")) // half of its requests
			edited := x
			edit(&edited)
			gold := from("192.0.2.1")
			gold.Plan = "gold"
			banned := func(c *ratelimit.Counters) bool {
				res := check(newLimiter(t, c, edited), gold)
				return !res.Allowed() && res.Decisions()[0].Banned && res.RetryAfter() > 10_000
			}
			if !banned(c) {
				t.Errorf("%s: the edit has freed a banned client", name)
			}
			if c != other {
				eventually(t, 10*time.Second, name+": the ban is in Redis", func() bool {
					states, err := other.Inspect(context.Background(), edited, "192.0.2.1", "r")
					return err == nil && states[0].Banned
				})
				if !banned(other) {
					t.Errorf("%s: not banned in an instance that has the edited limit alone", name)
				}
			}
			if d := check(newLimiter(t, c, edited), from("192.0.2.2")).Decisions()[0]; d.Banned {
				t.Errorf("%s: another client: %+v", name, d)
			}
			if err := c.Reset(context.Background(), edited, "192.0.2.1", "r"); err != nil {
				t.Fatal(err)
			}
			if res := check(newLimiter(t, c, edited), gold); !res.Allowed() && res.Decisions()[0].Banned {
				t.Errorf("%s: still banned after a reset: %+v", name, res.Decisions())
			}
			if c != other {
				eventually(t, 10*time.Second, name+": freed elsewhere", func() bool { return !banned(other) })
			}
		}
	}
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		c := newCounters(t, ratelimit.CountersOptions{})
		test(t, c, c)
	})
	redises(t, func(t *testing.T, url string, _ func(), everyKeyExpires func(testing.TB, ...string) int) {
		one, two := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, url)}), newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, url)})
		listening(t, one, two)
		test(t, one, two)
		everyKeyExpires(t)
	})
}
