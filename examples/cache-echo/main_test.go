package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/store"
)

// instances are two servers over the same numbers: on Redis with a cache each,
// in process with one.
func instances(t *testing.T, redisURL string) (n *numbers, urls [2]string) {
	t.Helper()
	n = newNumbers(1000)
	for i := range urls {
		if redisURL == "" && i > 0 {
			urls[i] = urls[0]
			continue
		}
		responses, closeCache, err := openCache(store.Options{URL: redisURL, Timeout: 10 * time.Second}) // two busy cores are not an outage
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(closeCache)
		s := httptest.NewServer(newApp(responses, n))
		t.Cleanup(s.Close)
		urls[i] = s.URL
	}
	return n, urls
}

func onEachStore(t *testing.T, test func(t *testing.T, n *numbers, urls [2]string)) {
	t.Parallel()
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		n, urls := instances(t, "")
		test(t, n, urls)
	})
	t.Run("two instances on Redis", func(t *testing.T) {
		t.Parallel()
		n, urls := instances(t, redistest.Start(t).URL)
		test(t, n, urls)
	})
}

func do(t *testing.T, method, url string) (status int, body, cacheStatus string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "app.test" // both instances are behind one name, as they would be; it is part of the key
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return 0, "", ""
	}
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, string(all), response.Header.Get("Cache-Status")
}

func hit(t *testing.T, url string) bool {
	_, _, status := do(t, http.MethodGet, url)
	return strings.HasPrefix(status, "headgate; hit")
}

func TestReportIsMadeOnceForAllWhoAsk(t *testing.T) {
	onEachStore(t, func(t *testing.T, n *numbers, urls [2]string) {
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				if _, body, _ := do(t, http.MethodGet, urls[i%2]+"/report"); body != "report 1: there are 168 primes below 1000\n" {
					t.Error(body)
				}
			})
		}
		all.Wait()
		if made := n.reports.Load(); made != 1 {
			t.Errorf("%d reports were made, want 1", made)
		}
		if !hit(t, urls[0]+"/report") {
			t.Error("the next one is no hit")
		}
	})
}

func TestChangedNumbersAreReportedAtOnceAtEveryInstance(t *testing.T) {
	onEachStore(t, func(t *testing.T, _ *numbers, urls [2]string) {
		do(t, http.MethodGet, urls[0]+"/report")
		do(t, http.MethodGet, urls[1]+"/report")
		if status, _, _ := do(t, http.MethodPost, urls[0]+"/numbers"); status != 204 {
			t.Fatalf("POST: %d", status)
		}
		for _, url := range []string{urls[1], urls[0]} {
			if _, body, _ := do(t, http.MethodGet, url+"/report"); body != "report 2: there are 184 primes below 1100\n" {
				t.Errorf("after the change: %s", body)
			}
		}
	})
}

func TestAppRunsUntilItIsTold(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	if err := run(ctx, "127.0.0.1:0", ""); err != nil {
		t.Error(err)
	}
	if err := run(t.Context(), "127.0.0.1:0", "http://redis"); err == nil {
		t.Error("started with a URL that is not Redis'")
	}
}
