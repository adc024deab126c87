package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/headgate/headgate/internal/redistest"
)

// TestPlacesSurviveTheKillOfAnInstance: three instances share four places. One of them is killed with requests in flight;
// at no moment more than four reach the app, and the places that it held are free again by themselves.
func TestPlacesSurviveTheKillOfAnInstance(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	var now, most atomic.Int64
	held := make(chan bool, 10)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
		if r.URL.Path == "/hold" {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			held <- true
			<-r.Context().Done()
			return
		}
		_, _ = io.WriteString(w, "hello")
	}))
	t.Cleanup(app.Close)
	policy := fmt.Sprintf(`
redis: {url: %q, timeout: 50s}
upstreams: {shop: {servers: [%s]}}
limits: {inflight: {key: ip, concurrent: 4}}
defaults: {upstream: shop, limits: inflight}
routes: [{path: /*}]
`, redis.URL, app.URL)
	instances := []*process{startProcess(t, policy), startProcess(t, policy), startProcess(t, policy)}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	hold := func(p *process) int {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+"/hold", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res.StatusCode
	}
	for _, p := range []*process{instances[0], instances[0], instances[1]} {
		if status := hold(p); status != 200 {
			t.Fatalf("%d", status)
		}
		<-held
	}
	if err := instances[0].Process.Kill(); err != nil {
		t.Fatal(err)
	}

	var stop atomic.Bool
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for !stop.Load() {
				switch status, text, _ := instances[1+i%2].do("GET", "/"); status {
				case 200, 429:
				default:
					t.Errorf("%d %s", status, text)
					return
				}
			}
		})
	}
	for i := range 3 { // the last free one, and those of the killed instance
		instances[2].eventually("a place of the killed instance is free", func() bool { return hold(instances[1+i%2]) == 200 })
		<-held
	}
	stop.Store(true)
	wg.Wait()
	// The request of instance 1 is older than a lease by now: it was renewed.
	if status := hold(instances[2]); status != 429 {
		t.Errorf("a fifth: %d", status)
	}
	if most.Load() > 4 {
		t.Errorf("%d requests at once reached the app, with 4 places", most.Load())
	}
}
