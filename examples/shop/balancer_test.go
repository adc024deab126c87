package main

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// site does a request to the balancer, with its own address as Host, as a browser does.
func (v *visitor) site(d *demo, path string, header ...string) answer {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, d.balancer.url()+path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := v.http.Do(r)
	if err != nil {
		v.t.Errorf("%s: %v", path, err)
		return answer{}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		v.t.Errorf("%s: %v", path, err)
	}
	return answer{response.StatusCode, response.Header, string(body)}
}

// answered returns which gateways have answered a request.
func (d *demo) answered(t *testing.T) (has [2]bool) {
	t.Helper()
	for i, g := range d.gateways {
		response, err := http.Get("http://" + g.running.AdminAddr() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		has[i] = strings.Contains(string(text), "\nheadgate_requests_total{")
	}
	return has
}

func TestTheSiteIsOneCacheWhicheverGatewayAnswers(t *testing.T) {
	onEachStore(t, func(t *testing.T, d *demo) {
		guest := newVisitor(t, "127.0.0.1")
		first := guest.site(d, "/products/top")
		if first.status != 200 || !strings.Contains(first.header.Get("Cache-Status"), "fwd=") {
			t.Fatalf("first: %d, %q", first.status, first.header.Get("Cache-Status"))
		}
		// So soon they may still be collapsed into the request before.
		for range 4 {
			a := guest.site(d, "/products/top")
			if status := a.header.Get("Cache-Status"); a.body != first.body || !strings.Contains(status, "; hit") && !strings.Contains(status, "; collapsed") {
				t.Errorf("%d, %q", a.status, status)
			}
		}
		if has := d.answered(t); has != [2]bool{true, true} {
			t.Errorf("the gateways that have answered: %v", has)
		}
	})
}

func TestTheBalancerSaysWhoIsAsking(t *testing.T) {
	t.Parallel()
	d := newDemo(t, demoOptions{})
	guest := newVisitor(t, "127.0.0.2")
	statuses := map[int]int{}
	for range 103 {
		statuses[guest.site(d, "/healthz", "X-Forwarded-For", "203.0.113.9").status]++
	}
	if statuses[200] != 100 || statuses[429] != 3 {
		t.Errorf("statuses %v, want 100 of 200 and 3 of 429", statuses)
	}
	if other := newVisitor(t, "127.0.0.3").site(d, "/healthz"); other.status != 200 {
		t.Errorf("another address: %d", other.status)
	}
}

func TestAGatewayThatIsGoneIsPassedOver(t *testing.T) {
	onEachStore(t, func(t *testing.T, d *demo) {
		ada := newVisitor(t, "127.0.0.1")
		ada.login(d.balancer.url(), "ada", "analytical-engine")
		for _, which := range []string{"1", "2"} {
			if said := d.obey("stop " + which); said != "gateway-"+which+" is gone." {
				t.Fatal(said)
			}
			for i := range 5 {
				if a := ada.get(d.balancer.url() + "/"); a.status != 200 || !strings.Contains(a.body, "Ada Lovelace") {
					t.Errorf("gateway %s is gone, request %d: %d", which, i, a.status)
				}
			}
			// A request that may not be sent twice passes too: it was not sent to the gateway that is gone.
			if a := ada.post(d.balancer.url()+"/cart", url.Values{"product": {"1"}, "quantity": {"1"}}); a.status != 303 {
				t.Errorf("gateway %s is gone, cart: %d %s", which, a.status, a.body)
			}
			if said := d.obey("start gateway-" + which); said != "gateway-"+which+" is back." {
				t.Fatal(said)
			}
		}
		eventually(t, "both gateways answer again", func() bool {
			ada.site(d, "/static/shop.css") // which has no limits
			return d.answered(t) == [2]bool{true, true}
		})
	})
}

func TestBalancerRoleServesAlone(t *testing.T) {
	t.Parallel()
	d := newDemo(t, demoOptions{})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out := &output{}
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"-role", "balancer", "-balancer", "127.0.0.1:0", "-gateways", d.gateways[0].Addr() + "," + d.gateways[1].Addr()},
			small, strings.NewReader(""), out, t.Output())
	}()
	eventually(t, "the balancer listens", func() bool { return strings.Contains(out.String(), "listens on http://") })
	_, site, _ := strings.Cut(strings.TrimSpace(out.String()), "listens on ")
	response, err := http.Get(site + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 200 {
		t.Errorf("status %d", response.StatusCode)
	}
	stop()
	if status := <-ended; status != 0 {
		t.Errorf("exit %d", status)
	}
}
