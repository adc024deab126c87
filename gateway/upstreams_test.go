package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/headgate/headgate/middleware/proxy"
)

func TestUpstreamsCommand(t *testing.T) {
	t.Parallel()
	app := func(name string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	a, b, c := app("a"), app("b"), app("c")
	policy := func(more string) string {
		return fmt.Sprintf("upstreams: {shop: {servers: [%q, %q, {url: %q, weight: 0}]}}\nroutes: [{path: /*, upstream: shop}]\n%s", a, b, c, more)
	}
	p := startProcess(t, policy(""))
	says := func(want []string, args ...string) {
		t.Helper()
		out, err := p.command(append(args, "--admin", p.admin)...)
		for _, w := range want {
			if err != nil || !strings.Contains(strings.Join(strings.Fields(out), " "), w) {
				t.Errorf("%v: %v\n%s\nwant %q", args, err, out, w)
			}
		}
	}
	refuses := func(want string, args ...string) {
		t.Helper()
		if out, err := p.command(append(args, "--admin", p.admin)...); err == nil || !strings.Contains(out, want) {
			t.Errorf("%v: %v\n%s\nwant %q", args, err, out, want)
		}
	}
	says([]string{
		"UPSTREAM URL ADDRESS STATE IN FLIGHT WEIGHT WAITING",
		"shop " + a + " - healthy 0 1 0", "shop " + b + " - healthy 0 1 0", "shop " + c + " - draining 0 0 0",
	}, "upstreams")
	says([]string{a + " gets no new requests from this gateway; 0 in flight. It stays drained until `headgate upstreams restore`, until the policy does not have it any more, or until the gateway restarts"},
		"upstreams", "drain", "shop", a)
	for range 6 {
		if _, text, _ := p.do("GET", "/"); text != "b" {
			t.Errorf("%q answers", text)
		}
	}
	p.write(policy("limits: {l: {key: ip, requests: 1000, window: 1m}}\n"))
	p.eventually("the reload is in force", func() bool {
		out, err := p.command("history", "--admin", p.admin)
		return err == nil && strings.Count(out, "\n") == 2
	})
	says([]string{"shop " + a + " - draining 0 1 0"}, "upstreams")
	out, err := p.command("upstreams", "--json", "--admin", p.admin)
	var all map[string][]proxy.ServerStatus
	if json.Unmarshal([]byte(out), &all) != nil || len(all["shop"]) != 3 || all["shop"][0].State != proxy.StateDraining || all["shop"][2].State != proxy.StateDraining {
		t.Errorf("%v\n%s", err, out)
	}

	refuses("it is the last server of upstream shop that gets requests; --force", "upstreams", "drain", "shop", b)
	says([]string{b + " gets no new requests"}, "upstreams", "drain", "shop", b, "--force")
	if status, _, _ := p.do("GET", "/"); status != 503 {
		t.Errorf("all are drained: %d", status)
	}
	for _, url := range []string{a, b} {
		says([]string{url + " gets requests from this gateway again; it is healthy"}, "upstreams", "restore", "shop", url)
	}
	if status, _, _ := p.do("GET", "/"); status != 200 {
		t.Errorf("both are restored: %d", status)
	}
	refuses("its weight is 0 in the policy; give it another one there", "upstreams", "restore", "shop", c)
	refuses(`there is no upstream "other"; the upstreams are shop`, "upstreams", "drain", "other", a)
	refuses(`no such server "http://other.test"; upstream shop has `+a+", "+b+", "+c, "upstreams", "drain", "shop", "http://other.test")
	for _, line := range []string{`msg="server is drained"`, `msg="server is restored"`} {
		if n := strings.Count(p.output.String(), line); n != 2 {
			t.Errorf("%s is logged %d times", line, n)
		}
	}
}
