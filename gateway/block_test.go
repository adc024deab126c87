package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/admin"
)

func TestBlockCommands(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(app.Close)
	p := startProcess(t, "upstreams: {shop: {servers: ["+app.URL+"]}}\nroutes: [{path: /*, upstream: shop}]\n")
	run := func(args ...string) (string, error) {
		out, err := p.command(append(args, "--admin", p.admin)...)
		return strings.Join(strings.Fields(out), " "), err
	}
	for _, step := range []struct{ args, want string }{
		{"blocks", "there is no Redis: blocks hold on this gateway alone, until it restarts no network is blocked"},
		{"block 192.0.2.0/24 --reason guesses", "192.0.2.0/24 is blocked until it is unblocked there is no Redis"},
		{"block 2001:db8::1 --for 1h", "2001:db8::/64 is blocked until 2"},
		{"block 192.0.2.7", "192.0.2.7/32 is blocked until it is unblocked"},
		{"blocks", "NETWORK UNTIL REASON BY SINCE 192.0.2.0/24 - guesses "},
		{"unblock 192.0.2.7", "192.0.2.7/32 has no block of its own any more, and is still refused as part of 192.0.2.0/24"},
		{"unblock 192.0.2.0/24", "192.0.2.0/24 is not blocked any more"},
		{"block 127.0.0.1 --force", "127.0.0.1/32 is blocked"},
	} {
		if out, err := run(strings.Fields(step.args)...); err != nil || !strings.Contains(out, step.want) {
			t.Errorf("%s: %v\n%s\nwant %s", step.args, err, out, step.want)
		}
	}
	if status, _, _ := p.do("GET", "/"); status != 403 {
		t.Errorf("%d", status)
	}
	for args, want := range map[string]string{
		"block 0.0.0.0/0": "0.0.0.0/0 is wider than a /8; --force", "block ::1/128 --for soon": "how long a block may last", "unblock 192.0.2.7": "192.0.2.7/32 is not blocked",
	} {
		if out, err := run(strings.Fields(args)...); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v\n%s\nwant %s", args, err, out, want)
		}
	}
	var list admin.BlockList
	if out, err := run("blocks", "--json"); err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list.Blocks) != 2 {
		t.Errorf("%v %s", err, out)
	}
	var change admin.BlockChange
	if out, err := run("unblock", "127.0.0.1", "--json"); err != nil || json.Unmarshal([]byte(out), &change) != nil || change.Network.String() != "127.0.0.1/32" {
		t.Errorf("%v %s", err, out)
	}
	if out := p.output.String(); !strings.Contains(out, "a network is blocked") || !strings.Contains(out, "a network is not blocked any more") {
		t.Errorf("the log does not say what operators have done:\n%s", out)
	}
}
