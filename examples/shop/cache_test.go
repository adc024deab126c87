package main

import (
	"encoding/json"
	"net/url"
	"strings"
	"sync"
	"testing"
)

func TestSlowQueryRunsOnceForVisitorsOfBothGateways(t *testing.T) {
	onEachStore(t, func(t *testing.T, d *demo) {
		guest := newVisitor(t, "127.0.0.1")
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				a := guest.get(d.gatewayURL(i%2) + "/api/products/top")
				var list struct {
					Runs     int `json:"query_runs"`
					Products []any
				}
				if err := json.Unmarshal([]byte(a.body), &list); err != nil || a.status != 200 || list.Runs != 1 || len(list.Products) != 50 {
					t.Errorf("status %d, %d products of run %d, %v", a.status, len(list.Products), list.Runs, err)
				}
			})
		}
		all.Wait()
		if home := guest.get(d.gatewayURL(0) + "/").body; !strings.Contains(home, "had run <strong>1</strong> time.") {
			t.Error("the slow query ran more than once")
		}
	})
}

func TestEditIsSeenAtBothGatewaysAtOnce(t *testing.T) {
	onEachStore(t, func(t *testing.T, d *demo) {
		one, two := d.gatewayURL(0), d.gatewayURL(1)
		guest, admin := newVisitor(t, "127.0.0.1"), newVisitor(t, "127.0.0.2")
		admin.login(one, "admin", "open-sesame")
		for i, name := range []string{"Golden Teapot", "Silver Teapot", "Leaden Teapot"} {
			for _, gateway := range []string{one, two} {
				guest.get(gateway + "/products/1")
				// So soon it may still be collapsed into the request before.
				status := guest.get(gateway + "/products/1").header.Get("Cache-Status")
				if !strings.Contains(status, "; hit") && !strings.Contains(status, "; collapsed") {
					t.Errorf("not cached: %q", status)
				}
			}
			edit := url.Values{"name": {name}, "price": {"99.90"}}
			if a := admin.post([]string{one, two}[i%2]+"/admin/products/1", edit); a.status != 303 {
				t.Fatalf("edit: %d %s", a.status, a.body)
			}
			for _, gateway := range []string{one, two} {
				if a := guest.get(gateway + "/products/1"); !strings.Contains(a.body, "<h1>"+name+"</h1>") {
					t.Errorf("edit %d: %s still shows the old page: %q", i, gateway, a.header.Get("Cache-Status"))
				}
			}
		}
	})
}

func TestWhatIsCachedOutlivesTheAppServers(t *testing.T) {
	onEachStore(t, func(t *testing.T, d *demo) {
		guest := newVisitor(t, "127.0.0.1")
		before := guest.get(d.gatewayURL(0) + "/products/top")
		d.obey("stop a")
		d.obey("stop b")
		if after := guest.get(d.gatewayURL(0) + "/products/top"); after.status != 200 || after.body != before.body {
			t.Errorf("the list of best sellers is gone with the app servers: %d", after.status)
		}
		if home := guest.get(d.gatewayURL(0) + "/"); home.status != 502 && home.status != 503 {
			t.Errorf("home page without app servers: %d", home.status)
		}
	})
}
