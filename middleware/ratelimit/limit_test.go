package ratelimit_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/problem"
	"github.com/headgate/headgate/middleware/ratelimit"
)

func TestLimitsThatCannotWorkAreRefusedWithTheMend(t *testing.T) {
	t.Parallel()
	good := ratelimit.Limit{Name: "x", Requests: 10, Window: time.Minute}
	for name, tt := range map[string]struct {
		change func(*ratelimit.Limit)
		want   string // "" where the limit is fine
	}{
		"as it is":            {func(*ratelimit.Limit) {}, ""},
		"no name":             {func(l *ratelimit.Limit) { l.Name = "" }, "the name must be"},
		"a name with a brace": {func(l *ratelimit.Limit) { l.Name = "a{b}" }, "the name must be"},
		"a long name":         {func(l *ratelimit.Limit) { l.Name = strings.Repeat("a", 65) }, "the name must be"},
		"no requests":         {func(l *ratelimit.Limit) { l.Requests = 0 }, ""},
		"a negative number":   {func(l *ratelimit.Limit) { l.Requests = -1 }, "requests: -1 is out of bounds"},
		"a plan without any":  {func(l *ratelimit.Limit) { l.Cost = 5; l.Plans = map[string]int64{"free": 0} }, ""},
		"zero, and a plan's bucket that never fills": {func(l *ratelimit.Limit) {
			l.Algorithm, l.Requests, l.Window, l.Burst, l.Plans = ratelimit.TokenBucket, 0, 7*24*time.Hour, 1000, map[string]int64{"gold": 1}
		}, "takes longer than"},
		"too many requests":      {func(l *ratelimit.Limit) { l.Requests = ratelimit.MaxRequests + 1 }, "choose one from 0 to 1000000000"},
		"an unknown algorithm":   {func(l *ratelimit.Limit) { l.Algorithm = "leaky" }, `unknown algorithm "leaky"`},
		"no window":              {func(l *ratelimit.Limit) { l.Window = 0 }, "the window is out of bounds"},
		"a window of half a µs":  {func(l *ratelimit.Limit) { l.Window = time.Second + 500 }, "whole microseconds"},
		"a window of two years":  {func(l *ratelimit.Limit) { l.Window = 2 * ratelimit.MaxWindow }, "the window is"},
		"a cost above the limit": {func(l *ratelimit.Limit) { l.Cost = 11 }, "can never admit; make cost at most requests"},
		"a cost above a plan":    {func(l *ratelimit.Limit) { l.Cost = 5; l.Plans = map[string]int64{"free": 3} }, "plans.free: with cost 5"},
		"a negative cost":        {func(l *ratelimit.Limit) { l.Cost = -1 }, "cost: -1 is out of bounds"},
		"a burst in a window":    {func(l *ratelimit.Limit) { l.Burst = 5 }, "burst means nothing to"},
		"a burst in a bucket":    {func(l *ratelimit.Limit) { l.Algorithm, l.Burst = ratelimit.TokenBucket, 50 }, ""},
		"a bucket that never fills": {func(l *ratelimit.Limit) {
			l.Algorithm, l.Requests, l.Window, l.Burst = ratelimit.TokenBucket, 1, 7*24*time.Hour, 1000
		}, "takes longer than"},
		"a log too long":            {func(l *ratelimit.Limit) { l.Algorithm, l.Requests = ratelimit.SlidingLog, ratelimit.MaxLogged+1 }, "use sliding_window"},
		"a ban without a duration":  {func(l *ratelimit.Limit) { l.Ban.After = 3 }, "can't be zero"},
		"a ban":                     {func(l *ratelimit.Limit) { l.Ban = ratelimit.Ban{After: 3, For: time.Minute} }, ""},
		"both ways of counting":     {func(l *ratelimit.Limit) { l.Count = ratelimit.Count{Failed: true, Statuses: []int{401}} }, "choose one"},
		"a status that is none":     {func(l *ratelimit.Limit) { l.Count.Statuses = []int{42} }, "42 is out of bounds"},
		"an unknown way in outages": {func(l *ratelimit.Limit) { l.OnRedisError = "panic" }, "use local, open or closed"},
		"a header without a name":   {func(l *ratelimit.Limit) { l.Key = []ratelimit.KeyPart{{Kind: ratelimit.KeyHeader}} }, "write it like header:X-Tenant"},
	} {
		t.Run(name, func(t *testing.T) {
			l := good
			tt.change(&l)
			l.SetDefaults()
			err := problem.Error(fmt.Sprintf("limit %q", l.Name), l.Validate())
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestALimiterRefusesTwoLimitsOfOneName(t *testing.T) {
	t.Parallel()
	l := limit("twice", ratelimit.FixedWindow, 1, time.Minute)
	if _, err := ratelimit.New(ratelimit.Options{Limits: []ratelimit.Limit{l, l}}); err == nil || !strings.Contains(err.Error(), "listed twice") {
		t.Fatal(err)
	}
}

func TestOnlyKeysThatTheClientChoosesAreWarnedOf(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]bool{
		"ip": false, "client": false, "user": false, "session": false, "route": false, "method": false,
		"header:X-Tenant": true, "cookie:id": true, "host": true,
		"header:X-Tenant route": true, "ip header:X-Tenant": false, "query:q": true, "param:id": true, "ip query:q": false, "cookie:id user": false,
	} {
		parts, err := ratelimit.ParseKey(strings.Fields(key)...)
		if err != nil {
			t.Fatal(err)
		}
		if got := (ratelimit.Limit{Key: parts}).ClientChosen(); got != want {
			t.Errorf("%s: %v", key, got)
		}
	}
}

func TestAnEditedLimitStartsCleanAndOtherEditsKeepTheCount(t *testing.T) {
	t.Parallel()
	base := ratelimit.Limit{Name: "x", Algorithm: ratelimit.FixedWindow, Requests: 1, Window: time.Hour}
	for name, tt := range map[string]struct {
		edit  func(*ratelimit.Limit)
		clean bool
	}{
		"nothing":     {func(*ratelimit.Limit) {}, false},
		"the size":    {func(l *ratelimit.Limit) { l.Requests = 2 }, true},
		"the window":  {func(l *ratelimit.Limit) { l.Window = time.Minute }, true},
		"the name":    {func(l *ratelimit.Limit) { l.Name = "y" }, true},
		"algorithm":   {func(l *ratelimit.Limit) { l.Algorithm = ratelimit.SlidingWindow }, true},
		"a ban":       {func(l *ratelimit.Limit) { l.Ban = ratelimit.Ban{After: 9, For: time.Minute} }, false},
		"a plan":      {func(l *ratelimit.Limit) { l.Plans = map[string]int64{"gold": 9} }, false},
		"the outages": {func(l *ratelimit.Limit) { l.OnRedisError = ratelimit.Open }, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCounters(t, ratelimit.CountersOptions{})
			before := newLimiter(t, c, base)
			for range 2 { // the second is denied, and remembered
				check(before, from("192.0.2.1"))
			}
			edited := base
			tt.edit(&edited)
			if got := check(newLimiter(t, c, edited), from("192.0.2.1")).Allowed(); got != tt.clean {
				t.Fatalf("after the edit a request is allowed: %v", got)
			}
		})
	}
}

// A plan's bucket is in proportion to the plan, whether the limit's own has a size of its own or not.
func TestPlansScaleTheBucket(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ burst, admitted int64 }{
		"as large as the plan":                 {0, 1000},
		"half as large as the plan":            {50, 500},
		"five times as large as a plan's rate": {500, 5000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := limit("x", ratelimit.TokenBucket, 100, time.Minute)
			l.Burst, l.Plans = tt.burst, map[string]int64{"gold": 1000}
			limiter := newLimiter(t, newCounters(t, ratelimit.CountersOptions{Now: newClock().now}), l)
			r := from("192.0.2.1")
			r.Plan = "gold"
			admitted := int64(0)
			for range 6000 {
				if check(limiter, r).Allowed() {
					admitted++
				}
			}
			if admitted != tt.admitted {
				t.Errorf("%d of 6000 at once were admitted, want %d", admitted, tt.admitted)
			}
		})
	}
}
