package replay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/gateway/replay"
	"github.com/headgate/headgate/gateway/replay/logs"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"
)

const s = time.Second

// steady is n requests of one client, so far apart.
func steady(n int, ip string, from, apart time.Duration, change ...func(*line)) (lines []line) {
	for i := range n {
		l := line{at: from + time.Duration(i)*apart, ip: ip}
		for _, f := range change {
			f(&l)
		}
		lines = append(lines, l)
	}
	return lines
}

func status(code string) func(*line) { return func(l *line) { l.status = code } }
func uri(u string) func(*line)       { return func(l *line) { l.uri = u } }

func TestKnownAnswers(t *testing.T) {
	t.Parallel()
	const a, b = "192.0.2.1", "192.0.2.2"
	everything := "routes: [{name: all, path: /*, upstream: shop}]\n"
	type want struct{ denied, dryRun, clients, banned int64 }
	tests := []struct {
		name   string
		policy string
		lines  []line
		want   want
	}{
		{"a fixed window admits its number in each minute", `
limits: {l: {algorithm: fixed_window, requests: 10, window: 1m}}
defaults: {limits: l}
`, steady(180, a, 0, s), want{denied: 150, clients: 1}},
		{"each client has a counter of its own", `
limits: {l: {algorithm: fixed_window, requests: 10, window: 1m}}
defaults: {limits: l}
`, append(steady(15, a, 0, 0), steady(10, b, 0, 0)...), want{denied: 5, clients: 1}},
		{"a token bucket refills with the log's time", `
limits: {l: {algorithm: token_bucket, requests: 1, window: 10s, burst: 3}}
defaults: {limits: l}
`, append(steady(5, a, 0, 0), steady(5, a, 20*s, 0)...), want{denied: 2 + 3, clients: 1}},
		{"a sliding log is exact", `
limits: {l: {algorithm: sliding_log, requests: 2, window: 10s}}
defaults: {limits: l}
`, []line{{at: 0, ip: a}, {at: 5 * s, ip: a}, {at: 9 * s, ip: a}, {at: 10 * s, ip: a}, {at: 11 * s, ip: a}}, want{denied: 2, clients: 1}},
		{"an IPv6 client is its prefix", `
limits: {l: {algorithm: fixed_window, requests: 1, window: 1m}}
defaults: {limits: l}
`, []line{{ip: "2001:db8::1"}, {ip: "2001:db8::2"}, {ip: "2001:db8:0:1::1"}}, want{denied: 1, clients: 1}},
		{"a dry run denies nobody", `
limits: {l: {algorithm: fixed_window, requests: 10, window: 1m, dry_run: true}}
defaults: {limits: l}
`, steady(15, a, 0, 0), want{dryRun: 5}},
		{"who is allowed is not limited", `
limits: {l: {algorithm: fixed_window, requests: 10, window: 1m, allow: [192.0.2.1/32]}}
defaults: {limits: l}
`, append(steady(15, a, 0, 0), steady(15, b, 0, 0)...), want{denied: 5, clients: 1}},
		{"failed ones alone count", `
limits: {l: {algorithm: fixed_window, requests: 3, window: 1m, count: failed}}
defaults: {limits: l}
`, slices.Concat(steady(20, a, 0, 0), steady(5, a, 2*s, s, status("401")), steady(2, a, 20*s, s)), want{denied: 2 + 2, clients: 1}},
		{"some statuses alone count", `
limits: {l: {algorithm: fixed_window, requests: 2, window: 1m, count: [404]}}
defaults: {limits: l}
`, slices.Concat(steady(5, a, 0, s, status("401")), steady(4, a, 10*s, s, status("404"))), want{denied: 2, clients: 1}},
		{"a client that left is counted", `
limits: {l: {algorithm: fixed_window, requests: 2, window: 1m, count: [404]}}
defaults: {limits: l}
`, steady(4, a, 0, s, status("499")), want{denied: 2, clients: 1}},
		{"a ban outlasts the window", `
limits: {l: {algorithm: fixed_window, requests: 1, window: 1m, ban: {after: 2, for: 10m}}}
defaults: {limits: l}
`, append(steady(3, a, 0, s), steady(11, a, 60*s, 60*s)...), want{denied: 2 + 10, banned: 1 + 10, clients: 1}},
		{"a denied request consumes nothing from other limits", `
limits:
  wide: {algorithm: fixed_window, requests: 10, window: 1m}
  narrow: {algorithm: fixed_window, requests: 2, window: 1m, key: [ip, route]}
defaults: {limits: wide}
`, append(steady(5, a, 0, 0, uri("/narrow")), steady(9, a, 0, 0)...), want{denied: 3 + 1, clients: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			policy := shop + tt.policy + everything
			if strings.Contains(policy, "narrow") {
				policy = strings.Replace(policy, "routes: [", "routes: [{name: narrow, path: /narrow, upstream: shop, limits: narrow}, ", 1)
			}
			r := run(t, replay.Options{Policy: parse(t, policy), Logs: []logs.Log{combined(tt.lines...)}})
			got := want{r.Policy.Denied, r.Policy.DryRunDenied, r.Policy.CutOff.Clients, 0}
			for _, l := range r.Policy.Limits {
				got.banned += l.ByBan
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if r.Requests != int64(len(tt.lines)) || r.Policy.Admitted+r.Policy.Denied != r.Requests {
				t.Errorf("%d requests of %d, %d admitted and %d denied", r.Requests, len(tt.lines), r.Policy.Admitted, r.Policy.Denied)
			}
			var series replay.Point
			for _, p := range r.Policy.Series.Points {
				series.Requests += p.Requests
				series.Denied += p.Denied
			}
			if series.Requests != r.Requests || series.Denied != r.Policy.Denied {
				t.Errorf("the course of time sums up to %+v", series)
			}
		})
	}
}

func TestTheWorstMinuteIsTheOneWithTheMostDenials(t *testing.T) {
	t.Parallel()
	p := parse(t, shop+`
limits: {l: {algorithm: fixed_window, requests: 5, window: 1m}}
defaults: {limits: l}
routes: [{path: /*, upstream: shop}]
`)
	lines := slices.Concat(
		steady(8, "192.0.2.1", 0, s),
		steady(20, "192.0.2.1", 125*s, s),
		steady(10, "192.0.2.1", 240*s, s),
		steady(6, "192.0.2.2", 250*s, 0, func(l *line) { l.agent = "curl/8.5.0" }),
	)
	r := run(t, replay.Options{Policy: p, Logs: []logs.Log{combined(lines...)}})
	want := []replay.ClientView{
		{Client: "192.0.2.1", Requests: 38, Denied: 3 + 15 + 5, Limits: []replay.LimitDenied{{Limit: "l", Denied: 23}}, Agent: browser,
			WorstMinute: midnight.Add(120 * s), WorstMinuteRequests: 20, WorstMinuteDenied: 15, FirstDenied: midnight.Add(5 * s)},
		{Client: "192.0.2.2", Requests: 6, Denied: 1, Limits: []replay.LimitDenied{{Limit: "l", Denied: 1}}, Agent: "curl/8.5.0", Bot: true,
			WorstMinute: midnight.Add(240 * s), WorstMinuteRequests: 6, WorstMinuteDenied: 1, FirstDenied: midnight.Add(250 * s)},
	}
	if diff := cmp.Diff(want, r.Policy.CutOff.Top); diff != "" {
		t.Error(diff)
	}
	if c := r.Policy.CutOff; c.Clients != 2 || c.Bots != 1 {
		t.Errorf("%+v", c)
	}
}

func TestRequestsThatNoRouteTakes(t *testing.T) {
	t.Parallel()
	p := parse(t, shop+`routes: [{path: /api/*, methods: [GET], upstream: shop}]`)
	r := run(t, replay.Options{Policy: p, Logs: []logs.Log{combined(
		line{ip: "192.0.2.1", uri: "/api/../api/x?q"}, line{ip: "192.0.2.1", uri: "/wp-login.php?x"}, line{ip: "192.0.2.1", uri: "/wp-login.php"},
		line{ip: "192.0.2.1", uri: "/api/x", method: "POST"}, line{ip: "192.0.2.1", uri: "/api/%00"}, line{ip: "192.0.2.1", uri: "http://other.example/api/x"},
		line{ip: "192.0.2.1", uri: "*", method: "OPTIONS"}, line{ip: "192.0.2.1", uri: "a.example:443", method: "CONNECT"},
	)}})
	want := replay.Unmatched{BadRequest: 1, NotFound: 2, MethodNotAllowed: 2, Top: []replay.PathCount{
		{Status: 404, Method: "GET", Path: "/wp-login.php", Count: 2},
		{Status: 400, Method: "GET", Path: "/api/%00", Count: 1},
		{Status: 405, Method: "POST", Path: "/api/x", Count: 1},
		{Status: 405, Method: "CONNECT", Path: "a.example:443", Count: 1},
	}}
	if diff := cmp.Diff(want, r.Policy.Unmatched); diff != "" {
		t.Error(diff)
	}
	if r.Policy.Admitted != 3 {
		t.Errorf("%d admitted", r.Policy.Admitted)
	}
}

func TestTheCacheEstimate(t *testing.T) {
	t.Parallel()
	p := parse(t, shop+`
caches:
  pages: {ttl: 60s, ignore_query: ["utm_*"], stale_while_revalidate: 30s, stale_if_error: 10m, tags: [pages], errors: {404: 10s}, max_body: 1KiB}
  origins: {}
routes:
  - {name: pages, path: /p/*, upstream: shop, cache: pages}
  - {name: edit, path: /edit, upstream: shop, purge: pages}
  - {name: origin, path: /o/*, upstream: shop, cache: origins}
  - {name: plain, path: /*, upstream: shop}
`)
	const ip = "192.0.2.1"
	get := func(at time.Duration, uri string) line { return line{at: at, ip: ip, uri: uri} }
	tests := []struct {
		name   string
		lines  []line
		assume time.Duration
		want   replay.CacheCount
	}{
		{"a second request is a hit, until the end of the ttl", []line{get(0, "/p/1"), get(59*s, "/p/1"), get(100*s, "/p/1")}, 0, replay.CacheCount{Requests: 3, Hits: 1, Origin: 2}},
		{"ignored parameters make no difference, others do", []line{get(0, "/p/1?utm_a=1&q=1"), get(1*s, "/p/1?q=1&utm_b=2"), get(2*s, "/p/1?q=2")}, 0, replay.CacheCount{Requests: 3, Hits: 1, Origin: 2}},
		{"paths that mean the same are the same", []line{get(0, "/p/a"), get(1*s, "/p//x/../%61")}, 0, replay.CacheCount{Requests: 2, Hits: 1, Origin: 1}},
		{"what is stale is served while it is fetched", []line{get(0, "/p/1"), get(70*s, "/p/1"), get(80*s, "/p/1")}, 0, replay.CacheCount{Requests: 3, Hits: 2, Stale: 1, Origin: 2}},
		{"what is stale stands in for an error", []line{get(0, "/p/1"), {at: 200 * s, ip: ip, uri: "/p/1", status: "502"}}, 0, replay.CacheCount{Requests: 2, Hits: 1, Stale: 1, Origin: 2}},
		{"HEAD is answered from a GET, but stores nothing", []line{{ip: ip, uri: "/p/1", method: "HEAD"}, get(1*s, "/p/1"), {at: 2 * s, ip: ip, uri: "/p/1", method: "HEAD"}}, 0, replay.CacheCount{Requests: 3, Hits: 1, Origin: 2}},
		{"errors are cached as the rule says", []line{{ip: ip, uri: "/p/1", status: "404"}, {at: 9 * s, ip: ip, uri: "/p/1", status: "404"}, {at: 11 * s, ip: ip, uri: "/p/1", status: "200"}}, 0,
			replay.CacheCount{Requests: 3, Hits: 2, Stale: 1, Origin: 2}},
		{"a purge by tag voids what was stored before", []line{get(0, "/p/1"), {at: 1 * s, ip: ip, uri: "/edit", method: "POST"}, get(2*s, "/p/1")}, 0, replay.CacheCount{Requests: 2, Origin: 2}},
		{"an unsafe request voids its URL", []line{get(0, "/p/1"), get(0, "/p/2"), {at: 1 * s, ip: ip, uri: "/p/1", method: "PUT"}, get(2*s, "/p/1"), get(2*s, "/p/2")}, 0, replay.CacheCount{Requests: 4, Hits: 1, Origin: 3}},
		{"one that fails does not", []line{get(0, "/p/1"), {at: 1 * s, ip: ip, uri: "/p/1", method: "PUT", status: "403"}, get(2*s, "/p/1")}, 0, replay.CacheCount{Requests: 2, Hits: 1, Origin: 1}},
		{"what is left to the origin is not cached", []line{get(0, "/o/1"), get(1*s, "/o/1")}, 0, replay.CacheCount{Requests: 2, Origin: 2}},
		{"unless something is assumed", []line{get(0, "/o/1"), get(1*s, "/o/1")}, 10 * s, replay.CacheCount{Requests: 2, Hits: 1, Origin: 1}},
		{"routes without a cache do not count", []line{get(0, "/x"), get(1*s, "/x")}, 0, replay.CacheCount{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := run(t, replay.Options{Policy: p, Logs: []logs.Log{combined(tt.lines...)}, AssumeTTL: tt.assume})
			if r.Policy.Cache.CacheCount != tt.want {
				t.Errorf("got %+v, want %+v", r.Policy.Cache.CacheCount, tt.want)
			}
		})
	}
}

func TestComparedWithAnotherPolicyTheDifferenceInBehaviourIsShown(t *testing.T) {
	t.Parallel()
	const policy = shop + `
limits:
  per-ip: {algorithm: fixed_window, requests: %d, window: 1m}
  login: {algorithm: fixed_window, requests: %d, window: 1m, key: [ip, route]}
routes:
  - {name: login, path: /login, upstream: shop, limits: login}
  - {name: %s, path: /*, upstream: shop, limits: per-ip}
`
	lines := append(steady(10, "192.0.2.1", 0, 0), steady(10, "192.0.2.2", 0, 0, uri("/login"))...)
	r := run(t, replay.Options{
		Policy:  parse(t, fmt.Sprintf(policy, 4, 9, "rest")),
		Against: parse(t, fmt.Sprintf(policy, 7, 5, "rest")), AgainstName: "old.yaml",
		Logs: []logs.Log{combined(lines...)},
	})
	want := &replay.Diff{
		NewlyDenied: replay.DiffSide{Requests: 3, Clients: 1,
			ByLimit: []replay.LimitDenied{{Limit: "per-ip", Denied: 3}}, ByRoute: []replay.RouteDenied{{Route: "rest", Denied: 3}},
			Top: []replay.DiffClient{{Client: "192.0.2.1", Requests: 3}}},
		NoLongerDenied: replay.DiffSide{Requests: 4, Clients: 1,
			ByLimit: []replay.LimitDenied{{Limit: "login", Denied: 4}}, ByRoute: []replay.RouteDenied{{Route: "login", Denied: 4}},
			Top: []replay.DiffClient{{Client: "192.0.2.2", Requests: 4}}},
	}
	if diff := cmp.Diff(want, r.Diff); diff != "" {
		t.Error(diff)
	}
	same := run(t, replay.Options{
		Policy: parse(t, fmt.Sprintf(policy, 4, 9, "rest")), Against: parse(t, "x-note: 1\n"+fmt.Sprintf(policy, 4, 9, "rest")),
		Logs: []logs.Log{combined(lines...)},
	})
	if !same.Diff.Same {
		t.Errorf("policies that differ in text alone: %+v", same.Diff)
	}
	moved := run(t, replay.Options{
		Policy: parse(t, fmt.Sprintf(policy, 4, 9, "shop")), Against: parse(t, fmt.Sprintf(policy, 4, 9, "rest")),
		Logs: []logs.Log{combined(lines...)},
	})
	if diff := cmp.Diff([]replay.Rerouted{{From: "rest", To: "shop", Requests: 10}}, moved.Diff.OtherRoute); diff != "" {
		t.Error(diff)
	}
}

// perMinute is a policy whose answer depends on the order of requests.
const perMinute = shop + `
limits: {l: {algorithm: sliding_log, requests: 20, window: 1m}}
defaults: {limits: l}
routes: [{path: /*, upstream: shop}]
`

func TestLinesOutOfOrderAreReplayedInOrder(t *testing.T) {
	t.Parallel()
	p := parse(t, perMinute)
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(rt, "lines")
		files := rapid.IntRange(1, 4).Draw(rt, "files")
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		var lines []line
		for range n {
			lines = append(lines, line{at: time.Duration(rnd.IntN(300)) * s, ip: fmt.Sprintf("192.0.2.%d", rnd.IntN(3))})
		}
		sorted := slices.Clone(lines)
		slices.SortStableFunc(sorted, func(a, b line) int { return int(a.at - b.at) })
		want := run(t, replay.Options{Policy: p, Logs: []logs.Log{combined(sorted...)}})

		var parts []logs.Log
		for i := range files {
			parts = append(parts, combined(lines[i*n/files:(i+1)*n/files]...))
		}
		got := run(t, replay.Options{Policy: p, Logs: parts})
		want.Logs, got.Logs = nil, nil
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatal(diff)
		}
	})
}

func TestLinesThatAreTooLateAreCountedAndReported(t *testing.T) {
	t.Parallel()
	lines := append(steady(3000, "192.0.2.1", 100*s, s), line{ip: "192.0.2.2"})
	r := run(t, replay.Options{Policy: parse(t, perMinute), Logs: []logs.Log{combined(lines...)}, Reorder: 1})
	if r.Requests != 3001 || r.Logs[0].Late != 1 || r.Logs[0].WorstLate < 1000 {
		t.Errorf("%d requests, %+v", r.Requests, r.Logs[0])
	}
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "out of order") {
		t.Errorf("notes: %q", r.Notes)
	}
	if !r.First.Equal(midnight) {
		t.Errorf("the first request is of %v", r.First)
	}
}

func TestCompressedLogsAreUnpacked(t *testing.T) {
	t.Parallel()
	var plain, gz, zst bytes.Buffer
	for _, l := range steady(50, "192.0.2.1", 0, s) {
		plain.WriteString(l.String())
	}
	for half := range 2 { // two members in one file, as `cat a.gz b.gz` makes it
		w := gzip.NewWriter(&gz)
		w.Write(plain.Bytes()[half*plain.Len()/2 : (half+1)*plain.Len()/2])
		w.Close()
	}
	z, _ := zstd.NewWriter(&zst)
	z.Write(plain.Bytes())
	z.Close()
	for name, packed := range map[string]string{"plain": plain.String(), "gzip": gz.String(), "zstd": zst.String()} {
		r := run(t, replay.Options{Policy: parse(t, perMinute), Logs: []logs.Log{text("log", packed)}})
		if r.Policy.Denied != 30 || r.Logs[0].Compression != name || r.Logs[0].Lines != 50 {
			t.Errorf("%s: %d denied, %+v", name, r.Policy.Denied, r.Logs[0])
		}
	}
	if _, err := replay.Run(t.Context(), replay.Options{Policy: parse(t, perMinute), Logs: []logs.Log{text("cut.gz", gz.String()[:gz.Len()-20])}}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that breaks off: %v", err)
	}
}

func TestBadLinesAreCountedAndTheFirstOnesShown(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 30 {
		b.WriteString(line{ip: "192.0.2.1", at: time.Duration(i) * s}.String())
		switch i % 3 {
		case 0:
			b.WriteString("garbage \x1b[31m\n")
		case 1:
			b.WriteString("\n")
		}
	}
	b.WriteString(`192.0.2.1 - - [` + strings.Repeat("x", 100_000) + "\n")
	b.WriteString(strings.TrimSuffix(line{ip: "192.0.2.1", at: 31 * s}.String(), "\n")) // the last line may lack its end
	r := run(t, replay.Options{Policy: parse(t, perMinute), Logs: []logs.Log{text("access.log", b.String())}})
	if r.Requests != 31 || r.Logs[0].BadLines != 11 || len(r.Logs[0].Bad) != 5 {
		t.Fatalf("%d requests, %+v", r.Requests, r.Logs[0])
	}
	want := replay.BadLine{Line: 2, Reason: `no client address where one should be: "garbage"`, Text: `"garbage \x1b[31m"`}
	if diff := cmp.Diff(want, r.Logs[0].Bad[0]); diff != "" {
		t.Error(diff)
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	p := parse(t, perMinute)
	tests := map[string]struct {
		o    replay.Options
		want string
	}{
		"no known format":      {replay.Options{Logs: []logs.Log{text("x.log", "hello\nworld\n")}}, "x.log: no known format of access logs"},
		"not the named format": {replay.Options{Logs: []logs.Log{combined(line{ip: "192.0.2.1"})}, Format: logs.Caddy}, "none of its 1 lines can be read as caddy"},
		"a missing file":       {replay.Options{Logs: []logs.Log{combined(line{ip: "192.0.2.1"}), logs.File("/nonexistent/access.log")}}, "no such file"},
		"a directory":          {replay.Options{Logs: []logs.Log{logs.File(os.TempDir())}}, "is a directory"},
		"no log":               {replay.Options{}, "no log to replay"},
		"an unknown format":    {replay.Options{Logs: []logs.Log{text("x", "")}, Format: "iis"}, `no format "iis"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.o.Policy = p
			_, err := replay.Run(t.Context(), tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestAnEmptyLogIsNoError(t *testing.T) {
	t.Parallel()
	r := run(t, replay.Options{Policy: parse(t, perMinute), Logs: []logs.Log{text("empty", "")}})
	for name, write := range map[string]func(io.Writer) error{"text": r.WriteText, "json": r.WriteJSON, "html": r.WriteHTML} {
		if err := write(io.Discard); r.Requests != 0 || err != nil {
			t.Errorf("%s: %d requests, %v", name, r.Requests, err)
		}
	}
}

func TestAReplayCanBeInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	endless := logs.Log{Name: "endless", Open: func() (io.ReadCloser, int64, error) {
		return io.NopCloser(&repeated{text: []byte(line{ip: "192.0.2.1"}.String())}), 0, nil
	}}
	_, err := replay.Run(ctx, replay.Options{Policy: parse(t, perMinute), Logs: []logs.Log{endless, endless}, Progress: func(p replay.Progress) {
		if p.Lines > 0 && p.Read > 0 && p.Total == 0 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestAReplayDoesNotWaitForALogThatHangs(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	defer w.Close()
	hanging := logs.Log{Name: "hanging", Open: func() (io.ReadCloser, int64, error) { return r, 0, nil }}

	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		io.WriteString(w, line{ip: "192.0.2.1"}.String()) // it is being read
		cancel()
	}()
	if _, err := replay.Run(ctx, replay.Options{Policy: parse(t, perMinute), Logs: []logs.Log{hanging}}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// repeated is one line without end.
type repeated struct {
	text []byte
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		k := copy(p[n:], r.text[r.at:])
		n, r.at = n+k, (r.at+k)%len(r.text)
	}
	return n, nil
}
