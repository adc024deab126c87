package ratelimit_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/ratelimit"
)

// redises are what the exactness suite runs on.
func redises(t *testing.T, f func(t *testing.T, url string, flushScripts func(), everyKeyExpires func(testing.TB, ...string) int)) {
	t.Run("one Redis", func(t *testing.T) {
		s := redistest.Start(t)
		f(t, s.URL, func() { s.Client.ScriptFlush(context.Background()) }, s.AssertEveryKeyExpires)
	})
	t.Run("a Cluster", func(t *testing.T) {
		c := redistest.StartCluster(t)
		f(t, c.URL, func() {
			for _, n := range c.Nodes {
				n.Client.ScriptFlush(context.Background())
			}
		}, c.AssertEveryKeyExpires)
	})
}

// TestGatewaysTogetherAdmitExactlyTheLimit has several gateways, whose clocks
// differ by seconds, admit a crowd through one Redis, while its scripts are
// flushed.
func TestGatewaysTogetherAdmitExactlyTheLimit(t *testing.T) {
	t.Parallel()
	const gateways, callers, each, size = 3, 10, 20, 100 // 600 requests for 100 places
	redises(t, func(t *testing.T, url string, flushScripts func(), everyKeyExpires func(testing.TB, ...string) int) {
		for _, a := range algorithms {
			t.Run(string(a), func(t *testing.T) {
				var admitted atomic.Int64
				var wg sync.WaitGroup
				for g := range gateways {
					skew := time.Duration(g-1) * 5 * time.Second
					c := newCounters(t, ratelimit.CountersOptions{
						Redis: openStore(t, url),
						Now:   func() time.Time { return time.Now().Add(skew) },
					})
					l := newLimiter(t, c, limit("shared", a, size, time.Hour))
					for range callers {
						wg.Go(func() {
							for i := range each {
								if i%2 == 0 {
									c.ForgetDenials() // so that all of them contend in Redis
								}
								o := check(l, from("192.0.2.1"))
								if o.Allowed() {
									admitted.Add(1)
								}
								if d := o.Decisions(); len(d) != 1 || d[0].Source == ratelimit.FromLocal {
									t.Errorf("not decided by Redis: %+v", d)
								}
							}
						})
					}
				}
				done := make(chan struct{})
				go func() {
					wg.Wait()
					close(done)
				}()
				for flushed := 0; ; flushed++ {
					select {
					case <-done:
					case <-time.After(time.Millisecond):
						flushScripts()
						continue
					}
					if flushed == 0 {
						t.Error("it was over before the scripts could be flushed")
					}
					break
				}
				// A token that came back meanwhile is rightly admitted: one in
				// 36 s.
				if n := admitted.Load(); n != size && (a != ratelimit.TokenBucket || n > size+2) {
					t.Fatalf("admitted %d of a limit of %d", n, size)
				}
			})
		}
		if n := everyKeyExpires(t); n == 0 {
			t.Fatal("no keys at all")
		}
	})
}

// TestSeveralLimitsAreAllOrNothing has requests of many users behind one
// address: each user may make 7 requests, the address 100. Whichever denies,
// neither is charged, also where the two lie in different slots.
func TestSeveralLimitsAreAllOrNothing(t *testing.T) {
	t.Parallel()
	redises(t, func(t *testing.T, url string, _ func(), everyKeyExpires func(testing.TB, ...string) int) {
		for _, a := range algorithms {
			t.Run(string(a), func(t *testing.T) {
				perUser := limit("per-user", a, 7, 24*time.Hour)
				perUser.Key = []ratelimit.KeyPart{{Kind: ratelimit.KeyUser}}
				perIP := limit("per-ip", a, 100, 24*time.Hour)
				perRoute := limit("per-route", a, 1000, 24*time.Hour)
				perRoute.Key = []ratelimit.KeyPart{{Kind: ratelimit.KeyRoute}}
				var total atomic.Int64
				perOne := make([]atomic.Int64, 20)
				var wg sync.WaitGroup
				for range 2 {
					c := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, url)})
					l := newLimiter(t, c, perUser, perIP, perRoute)
					for u := range perOne {
						wg.Go(func() {
							r := from("192.0.2.1")
							r.User = fmt.Sprint("user", u)
							for range 10 {
								c.ForgetDenials()
								if check(l, r).Allowed() {
									total.Add(1)
									perOne[u].Add(1)
								}
							}
						})
					}
				}
				wg.Wait()
				// While a refund is on its way, too few may have been admitted:
				// fill up what is left.
				c := newCounters(t, ratelimit.CountersOptions{Redis: openStore(t, url)})
				l := newLimiter(t, c, perUser, perIP, perRoute)
				for u := range perOne {
					r := from("192.0.2.1")
					r.User = fmt.Sprint("user", u)
					for range 8 {
						c.ForgetDenials()
						if check(l, r).Allowed() {
							total.Add(1)
							perOne[u].Add(1)
						}
					}
				}
				if total.Load() != 100 {
					t.Errorf("the address was admitted %d times, of 100", total.Load())
				}
				for u := range perOne {
					if n := perOne[u].Load(); n > 7 {
						t.Errorf("user %d was admitted %d times, of 7", u, n)
					}
				}
				// The route is charged with what was admitted, and nothing else.
				states, err := c.Inspect(t.Context(), perRoute, "r")
				if err != nil {
					t.Fatal(err)
				}
				if left := states[0].Remaining; left != 900 {
					t.Errorf("%d remain of the route's 1000, after 100 admissions", left)
				}
			})
		}
		everyKeyExpires(t)
	})
}
