package ratelimit_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/labstack/echo/v4"
)

// tally is an Observer that counts.
type tally struct {
	mu     sync.Mutex
	events map[string]int
	trips  int
	errors int
}

func (o *tally) Decided(limit string, e ratelimit.Event, s ratelimit.Source) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.events == nil {
		o.events = make(map[string]int)
	}
	o.events[fmt.Sprint(limit, " ", e, " ", s)]++
}

func (o *tally) Dropped(limit string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.events == nil {
		o.events = make(map[string]int)
	}
	o.events[limit+" dropped"]++
}

func (o *tally) RoundTrip(_ time.Duration, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.trips++
	if err != nil {
		o.errors++
	}
}

func TestAnObserverSeesEachDecision(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	seen := &tally{}
	c := newCounters(t, ratelimit.CountersOptions{Redis: impatient(t, s.URL), Observer: seen})
	listening(t, c)
	dry, wide, open := limit("dry", ratelimit.FixedWindow, 1, time.Hour), limit("wide", ratelimit.FixedWindow, 2, time.Hour), limit("open", ratelimit.FixedWindow, 9, time.Hour)
	dry.DryRun, open.OnRedisError = true, ratelimit.Open
	l := newLimiter(t, c, dry, wide, open)
	for range 4 { // admitted, admitted but for the dry run, denied, denied as remembered
		check(l, from("192.0.2.1"))
	}
	s.Stop()
	check(l, from("192.0.2.2"))
	want := map[string]int{
		"dry admitted redis": 1, "wide admitted redis": 2, "open admitted redis": 2,
		"dry dry_run_denied redis": 2, "wide denied redis": 1,
		"wide denied deny_cache": 1,
		"open error redis":       1, "dry admitted local": 1, "wide admitted local": 1,
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if diff := cmp.Diff(want, seen.events); diff != "" {
		t.Error(diff)
	}
	if seen.trips != 4 || seen.errors != 1 {
		t.Errorf("%d round trips, %d of them in vain", seen.trips, seen.errors)
	}
}

func TestTheDenyStageStandsBeforeWhatIsExpensive(t *testing.T) {
	t.Parallel()
	l := newLimiter(t, newCounters(t, ratelimit.CountersOptions{}), limit("x", ratelimit.FixedWindow, 1, time.Hour))
	expensive := 0
	e := echo.New()
	e.Use(l.DenyStage(ratelimit.MiddlewareOptions{}), func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			expensive++
			return next(c)
		}
	}, l.Middleware(ratelimit.MiddlewareOptions{}))
	e.GET("/", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
	var statuses []int
	for range 4 {
		statuses = append(statuses, do(e, "GET", "/").Code)
	}
	if diff := cmp.Diff([]int{204, 429, 429, 429}, statuses); diff != "" {
		t.Error(diff)
	}
	if expensive != 2 { // the second is where the denial is learnt
		t.Errorf("what is expensive ran %d times", expensive)
	}
}
