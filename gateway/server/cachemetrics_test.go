package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

func TestMetricsTellWhatTheCacheDoes(t *testing.T) {
	t.Parallel()
	waiting := make(chan bool)
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/top/slow":
			<-waiting
		case "/top/private":
			w.Header().Set("Cache-Control", "private")
		}
		fmt.Fprint(w, "answer")
	})
	g := start(t, fmt.Sprintf(withCache, "", shop.URL))
	metrics := func() string { return g.adminSend("GET", "/metrics", nil, "Authorization", "Bearer operator").text }

	for range 3 {
		g.do("GET", "/top/x") // a miss, and two hits
	}
	g.do("GET", "/top/private")
	var visitors sync.WaitGroup
	for range 5 {
		visitors.Go(func() { g.do("GET", "/top/slow") })
	}
	eventually(t, "all visitors wait", func() bool { return strings.Contains(metrics(), "headgate_requests_in_flight 5\n") })
	close(waiting)
	visitors.Wait()
	if a := g.adminSend("POST", "/purge", strings.NewReader(`{"tag": "products"}`), "Authorization", "Bearer operator", "Content-Type", "application/json"); a.StatusCode != 204 {
		t.Fatalf("purge: %d %s", a.StatusCode, a.text)
	}
	g.do("GET", "/top/x") // a miss again

	got := metrics()
	// A visitor in flight may not have come to the cache when the answer is there: it is a hit then.
	value := func(series string) (n int) {
		_, rest, _ := strings.Cut(got, "\n"+series+" ")
		_, _ = fmt.Sscan(rest, &n)
		return n
	}
	hits, collapsed := value(`headgate_cache_requests_total{reason="local",result="hit",rule="products"}`), value(`headgate_cache_collapsed_total{rule="products"}`)
	if hits < 2 || collapsed < 1 || hits+collapsed != 6 {
		t.Errorf("%d hits, %d collapsed", hits, collapsed)
	}
	for _, want := range []string{
		`headgate_cache_not_stored_total{reason="private",rule="products"} 1`,
		`headgate_cache_stored_total{rule="products"} 3`,
		`headgate_cache_stored_bytes_total{rule="products"} 18`,
		`headgate_cache_purges_total{kind="tag",soft="false"} 1`,
		`headgate_cache_evictions_total 0`,
		`headgate_cache_filling_bytes 0`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("/metrics has no %s", want)
		}
	}
	if t.Failed() {
		for line := range strings.Lines(got) {
			if strings.HasPrefix(line, "headgate_cache") {
				t.Log(strings.TrimSpace(line))
			}
		}
	}
}
