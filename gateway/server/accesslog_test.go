package server_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/policies"
)

const loggedTo = `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, access_log: %s, log: {level: %s}}
routes: [{path: /*, respond: {status: 200}}]
`

func (g *gateway) logged(path, what string) {
	g.t.Helper()
	eventually(g.t, what+" in "+filepath.Base(path), func() bool {
		text, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(text), what)
	})
}

func TestAReloadSendsTheAccessLogElsewhere(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	one, two := filepath.Join(folder, "one.log"), filepath.Join(folder, "two.log")
	var policy *policies.Policy
	level := new(slog.LevelVar)
	g := start(t, fmt.Sprintf(loggedTo, "off", "info"), func(o *server.Options) {
		o.AccessLog, o.Level = nil, level
		o.Load = func() (*policies.Policy, error) { return policy, nil }
	})
	change := func(log, at string) error {
		policy = parse(t, fmt.Sprintf(loggedTo, log, at))
		return g.Reload("test")
	}
	g.do("GET", "/nowhere")
	if err := change(one, "debug"); err != nil || level.Level() != slog.LevelDebug {
		t.Fatal(err, level)
	}
	g.do("GET", "/first")
	g.logged(one, "/first")
	if err := change(filepath.Join(folder, "missing", "x.log"), "warn"); err == nil || level.Level() != slog.LevelDebug {
		t.Fatal("a log in no folder was accepted, or changed the level")
	}
	if err := change(`{path: `+two+`, format: combined, fields: {drop: [user_agent]}}`, "info"); err != nil {
		t.Fatal(err)
	}
	g.do("GET", "/second", "Referer", "https://r/")
	g.logged(two, "GET /second HTTP/1.1")
	if err := change("off", "info"); err != nil {
		t.Fatal(err)
	}
	g.do("GET", "/third")
	if err := change(two, "info"); err != nil {
		t.Fatal(err)
	}
	g.do("GET", "/fourth")
	g.logged(two, "/fourth")
	text, _ := os.ReadFile(two)
	combined, _, _ := strings.Cut(string(text), "\n")
	if !strings.HasSuffix(combined, `"https://r/" "-"`) || strings.Contains(string(text), "/first") || strings.Contains(string(text), "/third") {
		t.Errorf("%s", text)
	}
	if text, _ := os.ReadFile(one); strings.Contains(string(text), "/nowhere") || strings.Count(string(text), "\n") != 1 {
		t.Errorf("%s", text)
	}
}

func TestAddedFieldsAreInTheAccessLog(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(loggedTo, `{fields: {add: [header:X-Tenant, trace_id], drop: [client_ip]}}`, "info"))
	g.do("GET", "/", "X-Tenant", `a"b`, "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	eventually(t, "a line", func() bool { return strings.Contains(g.log.String(), "\n") })
	if line := g.log.String(); !strings.Contains(line, `,"header_x_tenant":"a\"b","trace_id":"0af7651916cd43dd8448eb211c80319c"}`) || strings.Contains(line, "client_ip") {
		t.Error(line)
	}
}

// A panic may quote what the client has sent; so may what a library says of an error.
func TestOwnLogLinesHideQueryParameters(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	g := start(t, `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, access_log: {mask: [password]}}
upstreams: {a: {servers: [http://127.0.0.1:1]}}
caches: {c: {}}
routes: [{path: /cached, upstream: a, cache: c}, {path: /*, upstream: a}]
`, withLog(&log), func(o *server.Options) {
		o.Transport = func(string) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) { panic("no answer to " + r.URL.String()) })
		}
	})
	for _, path := range []string{"/plain", "/cached"} {
		g.do("GET", path+"?password=hunter2")
	}
	eventually(t, "both panics", func() bool { return strings.Count(log.String(), "password=***") == 2 })
	if strings.Contains(log.String(), "hunter2") || strings.Contains(g.log.String(), "hunter2") {
		t.Error(log.String(), g.log.String())
	}
}
