package replay_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/gateway/replay"
)

// formatsPolicy sees of a request what a log can tell: host, path, query,
// method, client and status.
const formatsPolicy = shop + `
limits: {l: {algorithm: fixed_window, requests: 1, window: 1m, count: [401]}}
routes:
  - {name: login, host: shop.example, path: /login, methods: [POST], match: {query: {v: "2"}}, upstream: shop, limits: l}
`

// Each log holds the same three requests of one client, at 10:00:00.5, 10:00:01.5 and 10:00:02.5 (or
// without the fraction): two failed logins, of which the second would have been denied, and a page.
func TestEachFormatTellsTheSame(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		format replay.Format // as detected
		host   string        // where the log does not tell it
		lines  []string
		agents bool
	}{
		{"combined", replay.Combined, "shop.example", []string{
			`2001:db8::7 - alice [02/Jan/2026:11:00:00 +0100] "POST /login?v=2 HTTP/1.1" 401 12 "https://shop.example/\"x\"" "curl/8.5.0"`,
			`2001:db8::7 - - [02/Jan/2026:05:00:01 -0500] "POST /login?v=2 HTTP/2.0" 401 12 "-" "curl/8.5.0"`,
			`2001:db8::7 - - [02/Jan/2026:10:00:02 +0000] "GET /x HTTP/1.1" 404 - "-" "curl/8.5.0"`,
		}, true},
		{"common", replay.Common, "shop.example", []string{
			`2001:db8::7 - - [02/Jan/2026:10:00:00 +0000] "POST /login?v=2 HTTP/1.1" 401 12`,
			`2001:db8::7 - - [02/Jan/2026:10:00:01 +0000] "POST /login?v=2 HTTP/1.1" 401 12`,
			`2001:db8::7 - - [02/Jan/2026:10:00:02 +0000] "GET /x HTTP/1.1" 404 12`,
		}, false},
		{"Apache's vhost_combined", replay.Combined, "", []string{
			`shop.example:443 2001:db8::7 - - [02/Jan/2026:10:00:00 +0000] "POST /login?v=2 HTTP/1.1" 401 12 "-" "curl/8.5.0"`,
			`shop.example:443 2001:db8::7 - - [02/Jan/2026:10:00:01 +0000] "POST /login?v=2 HTTP/1.1" 401 12 "-" "curl/8.5.0"`,
			`shop.example:443 2001:db8::7 - - [02/Jan/2026:10:00:02 +0000] "GET /x HTTP/1.1" 404 12 "-" "curl/8.5.0"`,
		}, true},
		{"Traefik's variant of combined", replay.Combined, "shop.example", []string{
			`2001:db8::7 - - [02/Jan/2026:10:00:00 +0000] "POST /login?v=2 HTTP/1.1" 401 12 "-" "curl/8.5.0" 1 "r@docker" "http://10.0.0.1:80" 12ms`,
			`2001:db8::7 - - [02/Jan/2026:10:00:01 +0000] "POST /login?v=2 HTTP/1.1" 401 12 "-" "curl/8.5.0" 2 "r@docker" "http://10.0.0.1:80" 12ms`,
			`2001:db8::7 - - [02/Jan/2026:10:00:02 +0000] "GET /x HTTP/1.1" 404 12 "-" "curl/8.5.0" 3 "-" "-" 0ms`,
		}, true},
		{"nginx, by msec and the request line", replay.Nginx, "", []string{
			`{"msec":"1767348000.750","remote_addr":"2001:db8::7","request":"POST /login?v=2 HTTP/1.1","status":"401","body_bytes_sent":"12","request_time":"0.250","http_host":"Shop.Example:443","http_user_agent":"curl/8.5.0"}`,
			`{"msec":"1767348001.750","remote_addr":"2001:db8::7","request":"POST /login?v=2 HTTP/1.1","status":"401","body_bytes_sent":"12","request_time":"0.250","http_host":"shop.example","http_user_agent":"curl/8.5.0"}`,
			`{"msec":"1767348002.750","remote_addr":"2001:db8::7","request":"GET /x HTTP/1.1","status":"404","body_bytes_sent":"12","request_time":"0.250","http_host":"shop.example","http_user_agent":"curl/8.5.0"}`,
		}, true},
		{"nginx, by time_iso8601 and single fields", replay.Nginx, "", []string{
			`{"time_iso8601":"2026-01-02T11:00:00+01:00","remote_addr":"2001:db8::7","request_method":"POST","request_uri":"/login?v=2","status":401,"bytes_sent":12,"host":"shop.example","server_name":"_","nested":{"a":[1,{"b":"}"}]},"http_user_agent":"curl\/8.5.0"}`,
			`{"time_iso8601":"2026-01-02T11:00:01+01:00","remote_addr":"2001:db8::7","request_method":"POST","request_uri":"/login?v=2","status":401,"bytes_sent":12,"host":"shop.example","server_name":"_","http_user_agent":"c\u0075rl/8.5.0"}`,
			`{"time_iso8601":"2026-01-02T11:00:02+01:00","remote_addr":"2001:db8::7","request_method":"GET","uri":"/x","args":"-","status":404,"bytes_sent":12,"server_name":"shop.example","http_user_agent":"curl/8.5.0"}`,
		}, true},
		{"Caddy", replay.Caddy, "", []string{
			`{"level":"info","ts":1767348000.75,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"10.0.0.1","remote_port":"1","client_ip":"2001:db8::7","proto":"HTTP/2.0","method":"POST","host":"shop.example","uri":"/login?v=2","headers":{"User-Agent":["curl/8.5.0"],"Cookie":["REDACTED"]}},"bytes_read":0,"user_id":"","duration":0.25,"size":12,"status":401,"resp_headers":{"Server":["Caddy"]}}`,
			`{"level":"info","ts":"2026-01-02T10:00:01.750Z","logger":"http.log.access","msg":"handled request","request":{"remote_ip":"2001:db8::7","method":"POST","host":"shop.example:443","uri":"/login?v=2","headers":{"User-Agent":["curl/8.5.0"]}},"duration":"250ms","size":12,"status":401}`,
			`{"level":"info","ts":1767348002.75,"logger":"http.log.access","msg":"handled request","request":{"client_ip":"2001:db8::7","method":"GET","host":"shop.example","uri":"/x","headers":{"User-Agent":["curl/8.5.0"]}},"duration":0.25,"size":12,"status":404}`,
		}, true},
		{"Traefik", replay.Traefik, "", []string{
			`{"ClientAddr":"[2001:db8::7]:4711","ClientHost":"2001:db8::7","DownstreamContentSize":12,"DownstreamStatus":401,"Duration":250000000,"RequestHost":"shop.example","RequestMethod":"POST","RequestPath":"/login?v=2","StartUTC":"2026-01-02T10:00:00.500000001Z","StartLocal":"2026-01-02T11:00:00.5+01:00","request_User-Agent":"curl/8.5.0","level":"info","msg":"","time":"2026-01-02T10:00:01Z"}`,
			`{"ClientAddr":"[2001:db8::7]:4711","DownstreamContentSize":12,"DownstreamStatus":401,"Duration":250000000,"RequestHost":"shop.example","RequestMethod":"POST","RequestPath":"/login?v=2","StartUTC":"2026-01-02T10:00:01.5Z","request_User-Agent":"curl/8.5.0"}`,
			`{"ClientHost":"2001:db8::7","DownstreamContentSize":12,"DownstreamStatus":404,"Duration":250000000,"RequestHost":"shop.example","RequestMethod":"GET","RequestPath":"/x","StartUTC":"2026-01-02T10:00:02.5Z","request_User-Agent":"curl/8.5.0"}`,
		}, true},
		{"our own", replay.Headgate, "", []string{
			`{"time":"2026-01-02T10:00:00.500Z","id":"a","client_ip":"2001:db8::7","method":"POST","host":"shop.example","uri":"/login?v=2","proto":"HTTP/1.1","status":401,"bytes":12,"duration_ms":250.5,"route":"login","upstream":"http://10.0.0.1","user_agent":"curl/8.5.0"}`,
			`{"time":"2026-01-02T10:00:01.500Z","id":"b","client_ip":"2001:db8::7","method":"POST","host":"shop.example","uri":"/login?v=2","proto":"HTTP/1.1","status":401,"bytes":12,"duration_ms":250,"route":"login","upstream":"http://10.0.0.1","user_agent":"curl/8.5.0"}`,
			`{"time":"2026-01-02T10:00:02.500Z","id":"c","client_ip":"2001:db8::7","method":"GET","host":"shop.example","uri":"/x","proto":"HTTP/1.1","status":404,"bytes":12,"duration_ms":250,"user_agent":"curl/8.5.0","error":"no route"}`,
		}, true},
	}
	p := parse(t, formatsPolicy)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := run(t, replay.Options{Policy: p, Logs: []replay.Log{text("log", strings.Join(tt.lines, "\n"))}, Host: tt.host})
			if l := r.Logs[0]; l.Format != tt.format || l.BadLines != 0 {
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
			if tt.agents && r.Bots.Tools != 3 || !tt.agents && r.Bots.Known != 0 {
				t.Errorf("user agents: %+v", r.Bots)
			}
		})
	}
}

func TestMalformedLinesAreRefusedWithAReason(t *testing.T) {
	t.Parallel()
	const good = `192.0.2.1 - - [02/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 12 "-" "-"`
	tests := map[string]struct {
		format     replay.Format
		line, want string
	}{
		"a host name for an address":   {replay.Combined, `host.example - - [02/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 12`, "no client address"},
		"no time":                      {replay.Combined, `192.0.2.1 - - "GET / HTTP/1.1" 200 12`, "no [time]"},
		"a day that does not exist":    {replay.Combined, `192.0.2.1 - - [31/Feb/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 12`, "no time that can be read"},
		"a month that does not exist":  {replay.Combined, `192.0.2.1 - - [01/anF/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 12`, "no time that can be read"},
		"an open quote":                {replay.Combined, `192.0.2.1 - - [02/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1 200 12`, "in quotes"},
		"no status":                    {replay.Combined, `192.0.2.1 - - [02/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1" OK 12`, "no status"},
		"JSON that breaks off":         {replay.Nginx, `{"msec":1,"remote_addr":"192.0.2.1`, "no valid JSON"},
		"JSON with something after it": {replay.Nginx, `{"msec":1} x`, "no valid JSON"},
		"JSON without an address":      {replay.Nginx, `{"msec":1,"status":200,"request":"GET / HTTP/1.1"}`, "remote_addr"},
		"JSON without a request":       {replay.Nginx, `{"msec":1,"status":200,"remote_addr":"192.0.2.1"}`, "request_uri"},
		"a time before 1970":           {replay.Nginx, `{"time_iso8601":"1969-01-02T11:00:00Z","status":200,"remote_addr":"192.0.2.1","request":"GET / HTTP/1.1"}`, "no time"},
		"a line of Caddy's other logs": {replay.Caddy, `{"level":"info","ts":1767348000.75,"msg":"serving initial configuration"}`, "access log of Caddy"},
	}
	p := parse(t, perMinute)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := replay.Run(t.Context(), replay.Options{Policy: p, Logs: []replay.Log{text("log", tt.line)}, Format: tt.format})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	r := run(t, replay.Options{Policy: p, Logs: []replay.Log{text("log", good+"\n"+strings.Replace(good, "GET / HTTP/1.1", `\x16\x03\x01`, 1))}})
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
	r := run(t, replay.Options{Policy: p, Logs: []replay.Log{text("log", log)}})
	if r.Policy.Routes[0].Requests != 2 || r.Policy.Routes[1].Requests != 1 {
		t.Errorf("%+v", r.Policy.Routes)
	}
}
