package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/admin"
)

func TestLimitsCommands(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}))
	t.Cleanup(app.Close)
	p := startProcess(t, "upstreams: {shop: {servers: ["+app.URL+"]}}\nlimits:\n  per-ip: {key: [ip, host], requests: 1, window: 1h}\n"+
		"  tokens: {key: \"header:X-Token\", requests: 1, window: 1h}\nroutes: [{name: t, path: /t, upstream: shop, limits: tokens}, {name: a, path: /*, upstream: shop, limits: per-ip}]\n")
	run := func(args ...string) string {
		t.Helper()
		out, err := p.command(append(args, "--admin", p.admin)...)
		if err != nil {
			t.Errorf("%v: %v %s", args, err, out)
		}
		return strings.Join(strings.Fields(out), " ")
	}
	if out := run("limits"); !strings.Contains(out, "no limit denies any request") {
		t.Error(out)
	}
	for range 3 {
		p.do("GET", "/")
		p.do("GET", "/t", "X-Token", "sk-secret-value-of-a-token")
	}
	if out := run("limits"); !strings.Contains(out, "LIMIT KEY DENIALS STATE per-ip 127.0.0.1 127.0.0.1 2 denied, ") || !strings.Contains(out, "tokens sk-s~") {
		t.Error(out)
	}
	var list admin.DeniedLimits
	if err := json.Unmarshal([]byte(run("limits", "--json")), &list); err != nil || len(list.Limits) != 2 {
		t.Fatalf("%v %+v", err, list)
	}
	run("limits", "reset", "per-ip", "127.0.0.1", "127.0.0.1")
	run("limits", "reset", "tokens", list.Limits[1].Keys[0].Key[0])
	if status, _, _ := p.do("GET", "/"); status != 200 {
		t.Errorf("%d", status)
	}
	if status, _, _ := p.do("GET", "/t", "X-Token", "sk-secret-value-of-a-token"); status != 200 {
		t.Errorf("%d", status)
	}
	if out, err := p.command("limits", "reset", "nowhere", "x", "--admin", p.admin); err == nil || !strings.Contains(out, "no limit") {
		t.Errorf("%v %s", err, out)
	}
}
