package ratelimit_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/store"
	"github.com/headgate/headgate/middleware/store/redistest"
	"github.com/labstack/echo/v4"
)

func TestTheHundredAndFirstRequestIsDeniedAndAnotherAddressGoesOn(t *testing.T) {
	for _, algorithm := range []ratelimit.Algorithm{ratelimit.FixedWindow, ratelimit.SlidingWindow, ratelimit.SlidingLog, ratelimit.TokenBucket} {
		t.Run(string(algorithm), func(t *testing.T) {
			s := redistest.Start(t)
			r, err := store.Open(store.Options{URL: s.URL})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close() })
			c, err := ratelimit.NewCounters(ratelimit.CountersOptions{Redis: r})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			e := echo.New()
			e.Use(ratelimit.Middleware(ratelimit.Options{Counters: c, Limits: []ratelimit.Limit{{Name: "per-ip", Algorithm: algorithm, Requests: 100, Window: time.Hour}}}))
			e.GET("/", func(c echo.Context) error { return c.String(200, "hello") })
			for i := range 105 {
				w := httptest.NewRecorder()
				e.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
				want := 200
				if i >= 100 {
					want = 429
				}
				if w.Code != want {
					t.Fatalf("request %d: %d %v %s", i+1, w.Code, w.Header(), w.Body)
				}
				if i == 0 || i >= 103 {
					t.Log(w.Header(), w.Body)
				}
			}
			w := httptest.NewRecorder()
			q := httptest.NewRequest("GET", "/", nil)
			q.RemoteAddr = "198.51.100.7:1"
			e.ServeHTTP(w, q)
			if w.Code != http.StatusOK {
				t.Fatal(w.Code)
			}
		})
	}
}
