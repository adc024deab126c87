package ratelimit_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/ratelimit"
)

func TestInspectingConsumesNothing(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, c *ratelimit.Counters) {
		for _, a := range algorithms {
			x := limit("x", a, 3, 24*time.Hour)
			x.Key = []ratelimit.KeyPart{{Kind: ratelimit.KeyUser}, {Kind: ratelimit.KeyRoute}}
			x.Plans = map[string]int64{"gold": 10}
			l := newLimiter(t, c, x)
			r := from("192.0.2.1")
			r.User = "42"
			gold := *r
			gold.Plan = "gold"
			check(l, r)
			check(l, &gold)
			check(l, &gold)
			check(l, from("192.0.2.9")) // without a user
			for range 5 {
				states, err := c.Inspect(context.Background(), x, "42", "r")
				if err != nil {
					t.Fatal(err)
				}
				if len(states) != 2 || states[0].Plan != "" || states[0].Remaining != 2 || states[1].Plan != "gold" || states[1].Remaining != 8 {
					t.Fatalf("%s: %+v", a, states)
				}
				states, err = c.Inspect(context.Background(), x, "ip:192.0.2.9", "r")
				if err != nil || states[0].Remaining != 2 {
					t.Fatalf("%s: by address: %+v %v", a, states, err)
				}
			}
			if err := c.Reset(context.Background(), x, "42", "r"); err != nil {
				t.Fatal(err)
			}
			states, err := c.Inspect(context.Background(), x, "42", "r")
			if err != nil || states[0].Remaining != 3 || states[1].Remaining != 10 {
				t.Fatalf("%s: after a reset: %+v %v", a, states, err)
			}
		}
	})
}

// An operator names a parameter by its value, however clients spell it.
func TestInspectingAParameter(t *testing.T) {
	t.Parallel()
	c := newCounters(t, ratelimit.CountersOptions{})
	x := limit("x", ratelimit.FixedWindow, 3, time.Hour)
	x.Key = []ratelimit.KeyPart{{Kind: ratelimit.KeyParam, Name: "id"}, {Kind: ratelimit.KeyQuery, Name: "q[1]"}}
	r := from("192.0.2.1")
	r.Params, r.Query = params{"id": "a%2F%25;x"}, "q%5B1%5D=b%26%3B+%c3%A4"
	l := newLimiter(t, c, x)
	check(l, r)
	previews, err := l.Peek(context.Background(), r)
	if err != nil || !slices.Equal(previews[0].Key, []string{"a/%", "b&; ä"}) {
		t.Fatalf("%+v, %v", previews, err)
	}
	states, err := c.Inspect(context.Background(), x, previews[0].Key...)
	if err != nil || states[0].Remaining != 2 {
		t.Fatalf("%+v, %v", states, err)
	}
}

func TestInspectingTellsOfABan(t *testing.T) {
	t.Parallel()
	c := newCounters(t, ratelimit.CountersOptions{})
	x := limit("x", ratelimit.FixedWindow, 1, time.Minute)
	x.Ban = ratelimit.Ban{After: 1, For: time.Hour}
	l := newLimiter(t, c, x)
	for range 2 {
		check(l, from("192.0.2.1"))
	}
	states, err := c.Inspect(t.Context(), x, "192.0.2.1")
	if err != nil || !states[0].Banned || states[0].RetryAfter < 59*time.Minute {
		t.Fatalf("%+v %v", states, err)
	}
}

func TestInspectingAsksForTheKeysOwnValues(t *testing.T) {
	t.Parallel()
	c := newCounters(t, ratelimit.CountersOptions{})
	byIP := limit("x", ratelimit.FixedWindow, 1, time.Minute)
	for want, values := range map[string][]string{
		"give 1 values, not 0": nil,
		"give 1 values, not 2": {"192.0.2.1", "r"},
		"is not an IP address": {"alice"},
	} {
		if _, err := c.Inspect(t.Context(), byIP, values...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", values, err)
		}
	}
}

func TestAdministrationSaysWhenRedisIsAway(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := newCounters(t, ratelimit.CountersOptions{Redis: impatient(t, s.URL)})
	s.Stop()
	x := limit("x", ratelimit.FixedWindow, 1, time.Minute)
	if _, err := c.Inspect(t.Context(), x, "192.0.2.1"); err == nil {
		t.Error("inspected")
	}
	if err := c.Reset(t.Context(), x, "192.0.2.1"); err == nil {
		t.Error("reset")
	}
}
