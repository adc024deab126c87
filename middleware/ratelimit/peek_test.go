package ratelimit_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/store"
)

func TestPeekTellsWhatCheckWouldSayAndConsumesNothing(t *testing.T) {
	redis, err := store.Open(store.Options{URL: redistest.Start(t).URL, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Close()
	for name, r := range map[string]*store.Redis{"memory": nil, "redis": redis} {
		t.Run(name, func(t *testing.T) {
			counters, err := ratelimit.NewCounters(ratelimit.CountersOptions{Redis: r})
			if err != nil {
				t.Fatal(err)
			}
			defer counters.Close()
			key, err := ratelimit.ParseKey("ip", "route", "user")
			if err != nil {
				t.Fatal(err)
			}
			limiter, err := ratelimit.New(ratelimit.Options{Counters: counters, Limits: []ratelimit.Limit{
				{Name: "two", Algorithm: ratelimit.FixedWindow, Key: key, Requests: 2, Window: time.Hour},
				{Name: "friends", Requests: 1, Window: time.Hour, Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
			}})
			if err != nil {
				t.Fatal(err)
			}
			req := ratelimit.Request{Addr: netip.MustParseAddr("192.0.2.1"), Route: "login", Method: "GET"}
			for admitted := range 3 {
				for range 3 {
					previews, err := limiter.Peek(t.Context(), &req)
					if err != nil {
						t.Fatal(err)
					}
					if len(previews) != 1 {
						t.Fatalf("%d limits apply", len(previews))
					}
					p := previews[0]
					if p.Allowed != (admitted < 2) || !slices.Equal(p.Key, []string{"192.0.2.1", "login", "ip:192.0.2.1"}) {
						t.Fatalf("after %d: %+v", admitted, p)
					}
				}
				if o := limiter.Check(t.Context(), &req, nil); o.Allowed() != (admitted < 2) {
					t.Fatalf("request %d", admitted+1)
				}
			}
		})
	}
}
