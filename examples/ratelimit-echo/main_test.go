package main

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/store"
)

// Two instances: they count together in Redis, and here also within the
// process, because they share their counters.
func instances(t *testing.T, redisURL string) [2]*echo.Echo {
	t.Helper()
	var apps [2]*echo.Echo
	for i := range apps {
		if redisURL == "" && i > 0 {
			apps[i] = apps[0]
			continue
		}
		counters, closeCounters, err := openCounters(store.Options{URL: redisURL, Timeout: 10 * time.Second}) // two busy cores are not an outage
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(closeCounters)
		apps[i] = newApp(counters)
	}
	return apps
}

func onEachStore(t *testing.T, test func(t *testing.T, apps [2]*echo.Echo)) {
	t.Parallel()
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		test(t, instances(t, ""))
	})
	t.Run("two instances on Redis", func(t *testing.T) {
		t.Parallel()
		test(t, instances(t, redistest.Start(t).URL))
	})
}

func ask(e *echo.Echo, method, target, from, form string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = from + ":40000"
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

func TestSearchIsGivenThreeAtOnce(t *testing.T) {
	onEachStore(t, func(t *testing.T, apps [2]*echo.Echo) {
		var statuses []int
		for i := range 5 {
			statuses = append(statuses, ask(apps[i%2], http.MethodGet, "/search", "192.0.2.1", "").Code)
		}
		if want := []int{200, 200, 200, 429, 429}; !slices.Equal(statuses, want) {
			t.Errorf("statuses %v, want %v", statuses, want)
		}
		if w := ask(apps[0], http.MethodGet, "/", "192.0.2.1", ""); w.Code != 200 {
			t.Errorf("another route: %d, want 200", w.Code)
		}
		if w := ask(apps[0], http.MethodGet, "/search", "192.0.2.2", ""); w.Code != 200 {
			t.Errorf("another address: %d, want 200", w.Code)
		}
	})
}

func TestOnlyFailedLoginsCount(t *testing.T) {
	onEachStore(t, func(t *testing.T, apps [2]*echo.Echo) {
		for i := range 8 {
			if w := ask(apps[i%2], http.MethodPost, "/login", "192.0.2.1", "password=open-sesame"); w.Code != 200 {
				t.Fatalf("right password, attempt %d: %d", i+1, w.Code)
			}
		}
		var statuses []int
		for i := range 7 {
			statuses = append(statuses, ask(apps[i%2], http.MethodPost, "/login", "192.0.2.1", "password=guess").Code)
		}
		if want := []int{401, 401, 401, 401, 401, 429, 429}; !slices.Equal(statuses, want) {
			t.Errorf("statuses %v, want %v", statuses, want)
		}
	})
}

func TestSixtyFirstRequestIsToldWhenToComeBack(t *testing.T) {
	onEachStore(t, func(t *testing.T, apps [2]*echo.Echo) {
		for i := range 60 {
			if w := ask(apps[i%2], http.MethodGet, "/", "192.0.2.1", ""); w.Code != 200 {
				t.Fatalf("request %d: %d", i+1, w.Code)
			}
		}
		w := ask(apps[0], http.MethodGet, "/", "192.0.2.1", "")
		if w.Code != 429 || w.Header().Get("Retry-After") == "" || !strings.HasPrefix(w.Header().Get("RateLimit"), `"per-ip"`) {
			t.Errorf("%d, Retry-After %q, RateLimit %q", w.Code, w.Header().Get("Retry-After"), w.Header().Get("RateLimit"))
		}
	})
}

func TestBadRedisURLStopsTheStart(t *testing.T) {
	t.Parallel()
	if err := run(t.Context(), "127.0.0.1:0", "http://redis"); err == nil {
		t.Error("started with a URL that is not Redis'")
	}
}
