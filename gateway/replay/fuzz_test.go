package replay_test

import (
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/replay"
	"github.com/headgate/headgate/gateway/replay/logs"
)

// FuzzRun replays any bytes as a log, under a policy that is compared with itself.
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
		r, err := replay.Run(t.Context(), replay.Options{Policy: policy, Against: policy, Logs: []logs.Log{text("log", string(log))}})
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
