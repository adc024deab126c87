package replay_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/headgate/headgate/gateway/replay"
)

// fuzzParser looks for a line that makes a parser panic, or return what the
// engine does not expect.
func fuzzParser(f *testing.F, format replay.Format, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := replay.ParseLine(format, line)
		if err != nil {
			if !utf8.ValidString(err.Error()) || strings.ContainsAny(err.Error(), "\x1b\n\r\x00") {
				t.Errorf("the error is not fit to be shown: %q", err.Error())
			}
			return
		}
		switch {
		case r.At < 0 || r.At > replay.MaxMicros:
			t.Errorf("time %d", r.At)
		case r.Took < 0 || r.Took > 32*24*time.Hour:
			t.Errorf("duration %v", r.Took)
		case r.Status < 0 || r.Status > 999:
			t.Errorf("status %d", r.Status)
		case r.Addr.Is4In6() || r.Addr.Zone() != "":
			t.Errorf("address %v", r.Addr)
		}
	})
}

func FuzzCombined(f *testing.F) {
	fuzzParser(f, replay.Combined,
		`192.0.2.1 - - [02/Jan/2026:10:00:00 +0000] "GET /x HTTP/1.1" 200 12 "-" "curl/8.5.0"`,
		`shop.example:443 ::ffff:192.0.2.1 - - [02/Jan/2026:10:00:00 +0000] "\x16\x03" 400 - "a\"b" "c\\"`,
		`2001:db8::7%eth0 - - [02/Jan/2026:10:00:00 +0000] "GET /x HTTP/1.1" 200 12 "-" "a" 3 "r" "http://b" 12ms`)
}

func FuzzHeadgate(f *testing.F) {
	fuzzParser(f, replay.Headgate, `{"time":"2026-01-02T10:00:00.500Z","client_ip":"192.0.2.1","method":"GET","host":"a","uri":"/","status":200,"bytes":1,"duration_ms":1,"login":true}`)
}

func FuzzNginx(f *testing.F) {
	fuzzParser(f, replay.Nginx,
		`{"msec":"1767348000.750","remote_addr":"192.0.2.1","request":"GET / HTTP/1.1","status":"200","request_time":"0.1"}`,
		`{"time_local":"02/Jan/2026:10:00:00 +0000","remote_addr":"192.0.2.1","request_method":"GET","uri":"/","args":"a","status":200}`)
}

func FuzzCaddy(f *testing.F) {
	fuzzParser(f, replay.Caddy, `{"ts":1767348000.75,"request":{"client_ip":"192.0.2.1","method":"GET","host":"a","uri":"/","headers":{"User-Agent":["x"]}},"duration":"1h","size":1,"status":200}`)
}

func FuzzTraefik(f *testing.F) {
	fuzzParser(f, replay.Traefik, `{"ClientHost":"192.0.2.1","DownstreamStatus":200,"Duration":1,"RequestMethod":"GET","RequestPath":"/","StartUTC":"2026-01-02T10:00:00Z"}`)
}

// FuzzJSONIsReadAsEncodingJSONDoes holds the scanner to the standard library's
// reading, wherever that calls a line valid.
func FuzzJSONIsReadAsEncodingJSONDoes(f *testing.F) {
	f.Add([]byte(`{"a":"x\u00e9\ud83d\ude00\n","b":[1,{"c":"]"}],"d":null,"e":-1.5e3,"":{}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var want map[string]any
		if !utf8.Valid(line) || json.Unmarshal(line, &want) != nil || want == nil {
			_, _, _ = replay.Fields(line) // it must not panic
			return
		}
		keys, texts, err := replay.Fields(line)
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for _, k := range keys {
			if _, ok := want[k]; !ok {
				t.Errorf("key %q is not in %s", k, line)
			}
		}
		for k, v := range want {
			if s, ok := v.(string); ok && texts[k] != s {
				t.Errorf("%q is %q, want %q", k, texts[k], s)
			}
		}
	})
}

// FuzzRun replays anything at all.
func FuzzRun(f *testing.F) {
	policy := parse(f, shop+`
clients: {acme: {key_sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", plan: gold}}
limits: {l: {requests: 1, window: 1m, plans: {gold: 2}, key: [client, header:User-Agent], count: failed, ban: {after: 1, for: 1m}}}
caches: {c: {ttl: 1m, ignore_query: ["a*"]}}
routes: [{path: /*, upstream: shop, limits: l, cache: c, match: {query: {a: b}}}, {host: a.example, path: /x/:y, upstream: shop}]
`)
	f.Add([]byte(line{ip: "192.0.2.1", uri: "/?a=b"}.String() + line{ip: "192.0.2.1", uri: "/?a=b"}.String()))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Add([]byte(`{"time":"2026-01-02T10:00:00.500Z","client_ip":"192.0.2.1","client":"acme","method":"GET","host":"a","uri":"/?a=b","status":429,"limit":"l","duration_ms":1}`))
	f.Fuzz(func(t *testing.T, log []byte) {
		r, err := replay.Run(t.Context(), replay.Options{Policy: policy, Against: policy, Logs: []replay.Log{text("log", string(log))}})
		if err != nil {
			return
		}
		if !r.Diff.Same {
			t.Errorf("a policy differs from itself: %+v", r.Diff)
		}
		var b strings.Builder
		if err := r.WriteText(&b); err != nil || strings.ContainsAny(b.String(), "\x1b\r\x00") {
			t.Errorf("%v: %q", err, b.String())
		}
	})
}
