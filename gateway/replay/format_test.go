package replay_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/gateway/replay"
	"github.com/headgate/headgate/gateway/replay/logs"
)

// formatsPolicy makes use of all that a log can tell of a request: host, path, query,
// method, client and status.
const formatsPolicy = shop + `
limits: {l: {algorithm: fixed_window, requests: 1, window: 1m, count: [401]}}
routes:
  - {name: login, host: shop.example, path: /login, methods: [POST], match: {query: {v: "2"}}, upstream: shop, limits: l}
`

// withoutHost has the logs that do not tell the host, and the host that --host would name.
var withoutHost = map[string]string{"combined": "shop.example", "common": "shop.example", "combined-traefik": "shop.example"}

// Each known log holds the same three requests of one client: two failed logins, of which the second would have been
// denied, and a page. Its name begins with that of its format.
func TestEachFormatTellsTheSame(t *testing.T) {
	t.Parallel()
	p := parse(t, formatsPolicy)
	files, err := filepath.Glob("logs/testdata/*.log")
	if err != nil || len(files) < 9 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			name := strings.TrimSuffix(filepath.Base(file), ".log")
			format, _, _ := strings.Cut(name, "-")
			r := run(t, replay.Options{Policy: p, Logs: []logs.Log{logs.File(file)}, Host: withoutHost[name]})
			if l := r.Logs[0]; string(l.Format) != format || l.BadLines != 0 {
				t.Fatalf("%+v", l)
			}
			if from, to := r.First.Format("15:04:05"), r.Last.Format("15:04:05"); from != "10:00:00" || to != "10:00:02" {
				t.Errorf("from %v to %v", r.First, r.Last)
			}
			want := []replay.LimitDenied{{Limit: "l", Denied: 1}}
			if top := r.Policy.CutOff.Top; len(top) != 1 || top[0].Client != "2001:db8::/64" || !cmp.Equal(top[0].Limits, want) {
				t.Errorf("cut off: %+v", top)
			}
			if r.Requests != 3 || r.Policy.Routes[0].Requests != 2 || r.Policy.Unmatched.NotFound != 1 {
				t.Errorf("%d requests, %+v, %+v", r.Requests, r.Policy.Routes, r.Policy.Unmatched)
			}
			if agents := format != "common"; agents && r.Bots.Tools != 3 || !agents && r.Bots.Known != 0 {
				t.Errorf("user agents: %+v", r.Bots)
			}
		})
	}
}

func TestAClientThatDoesNotSpeakHTTPIsABadRequest(t *testing.T) {
	t.Parallel()
	const good = `192.0.2.1 - - [02/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 12 "-" "-"`
	p := parse(t, perMinute)
	r := run(t, replay.Options{Policy: p, Logs: []logs.Log{text("log", good+"\n"+strings.Replace(good, "GET / HTTP/1.1", `\x16\x03\x01`, 1))}})
	if r.Logs[0].BadLines != 0 || r.Policy.Unmatched.BadRequest != 1 {
		t.Errorf("what is no HTTP is a bad request rather than a bad line: %+v, %+v", r.Logs, r.Policy.Unmatched)
	}
}

func TestHeadersThatOurOwnLogImpliesAreKnown(t *testing.T) {
	t.Parallel()
	p := parse(t, shop+`
routes:
  - {name: beta, path: /*, match: {headers: {X-Beta: "1"}}, upstream: shop}
  - {name: rest, path: /*, upstream: shop}
`)
	const own = `{"time":"2026-01-02T10:00:00.500Z","client_ip":"192.0.2.1","method":"GET","host":"a","uri":"/","status":200,"bytes":1,"duration_ms":1,"route":"%"}` + "\n"
	log := strings.Replace(own, "%", "beta", 1) + strings.Replace(own, "%", "rest", 1) + strings.Replace(own, "%", "beta", 1)
	r := run(t, replay.Options{Policy: p, Logs: []logs.Log{text("log", log)}})
	if r.Policy.Routes[0].Requests != 2 || r.Policy.Routes[1].Requests != 1 {
		t.Errorf("%+v", r.Policy.Routes)
	}
}
