package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/policies"
)

const policy = `
version: 1
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, access_log: off}
redis: {url: "%s", timeout: 2s}
upstreams: {app: {servers: ["%s"]}}
limits: {per-client: {algorithm: %s, key: %s, requests: 40, window: 4s}}
routes: [{path: /*, upstream: app, limits: per-client}]
`

// gateways starts three Headgates that share a limit, and returns their URLs.
func gateways(t *testing.T, algorithm, key string) (urls []string) {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(app.Close)
	redis := redistest.Start(t)
	for range 3 {
		p, problems := policies.Parse("headgate.yaml", fmt.Appendf(nil, policy, redis.URL, app.URL, algorithm, key), policies.LoadOptions{})
		if problems.HasErrors() {
			t.Fatal(problems)
		}
		s, err := server.New(server.Options{Policy: p, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			s.Shutdown(ctx)
		})
		urls = append(urls, "http://"+s.Addr()+"/")
	}
	return urls
}

// exactness runs the program and returns its exit code, and its results by the checks' names.
func exactness(t *testing.T, urls []string, args ...string) (int, map[string]result) {
	t.Helper()
	args = append(args, "-json", "-requests", "40", "-window", "4s")
	for _, u := range urls {
		args = append(args, "-url", u)
	}
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), args, &stdout, &stderr)
	var results []result
	if err := json.Unmarshal(stdout.Bytes(), &results); err != nil {
		t.Fatalf("exit code %d: %v\n%s%s", code, err, stdout.String(), stderr.String())
	}
	named := map[string]result{}
	for _, r := range results {
		named[r.Check] = r
	}
	return code, named
}

// TestHeadgateIsExact, by each algorithm, over three instances. A machine that stands still for a
// second makes any client uneven, so that a second and a third try are fair.
func TestHeadgateIsExact(t *testing.T) {
	t.Parallel()
	tests := []struct{ algorithm, key, identity, only string }{
		{"fixed_window", "header:X-Client", "header:X-Client", ""},
		{"sliding_window", "header:X-Client", "header:X-Client", ""},
		{"sliding_log", "header:X-Client", "header:X-Client", ""},
		{"token_bucket", "header:X-Client", "header:X-Client", ""},
		{"sliding_window", "ip", "ip", "forged-address"},
	}
	for _, test := range tests {
		t.Run(test.algorithm+" by "+test.key, func(t *testing.T) {
			t.Parallel()
			urls := gateways(t, test.algorithm, test.key)
			for try := 1; ; try++ {
				code, results := exactness(t, urls, "-algorithm", test.algorithm, "-identity", test.identity, "-only", test.only)
				if code == 0 {
					return
				}
				if t.Logf("try %d: %+v", try, results); try == 3 {
					t.Fatal("not exact")
				}
			}
		})
	}
}

// bad is a limiter with one fault.
type bad struct {
	mu             sync.Mutex
	counts         map[string][]time.Time
	perInstance    bool // it counts for each instance by itself
	countsDenied   bool
	believes       bool // it takes X-Forwarded-For for the client's address
	noRetryAfter   bool
	tooEarlyReturn bool // Retry-After is a second, whatever is left
}

func (b *bad) instances(t *testing.T) (urls []string) {
	b.counts = map[string][]time.Time{}
	for i := range 2 {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.serve(w, r, i) }))
		t.Cleanup(s.Close)
		urls = append(urls, s.URL)
	}
	return urls
}

func (b *bad) serve(w http.ResponseWriter, r *http.Request, instance int) {
	key := r.Header.Get("X-Client")
	if b.believes {
		key += r.Header.Get("X-Forwarded-For") + r.Header.Get("X-Real-IP") + r.Header.Get("Forwarded")
	}
	if b.perInstance {
		key += fmt.Sprint(" at ", instance)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now, recent := time.Now(), b.counts[key][:0:0]
	for _, at := range b.counts[key] {
		if now.Sub(at) < 4*time.Second {
			recent = append(recent, at)
		}
	}
	admitted := len(recent) < 40
	if admitted || b.countsDenied {
		recent = append(recent, now)
	}
	b.counts[key] = recent
	if admitted {
		return
	}
	after := int(4*time.Second-now.Sub(recent[0]))/int(time.Second) + 1
	if b.tooEarlyReturn {
		after = 1
	}
	if !b.noRetryAfter {
		w.Header().Set("Retry-After", fmt.Sprint(after))
	}
	w.WriteHeader(http.StatusTooManyRequests)
}

// TestFaultsAreFound: each check fails for the fault that it looks for.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	tests := []struct {
		fault    bad
		check    string
		identity string
	}{
		{bad{perInstance: true}, "burst", "header:X-Client"},
		{bad{perInstance: true}, "sustained", "header:X-Client"},
		{bad{countsDenied: true}, "denied-costs-nothing", "header:X-Client"},
		{bad{noRetryAfter: true}, "retry-after", "header:X-Client"},
		{bad{tooEarlyReturn: true}, "retry-after", "header:X-Client"},
		{bad{believes: true}, "forged-address", "ip"},
	}
	for i := range tests {
		test := &tests[i]
		t.Run(test.check, func(t *testing.T) {
			t.Parallel()
			code, results := exactness(t, test.fault.instances(t), "-algorithm", "sliding_log", "-identity", test.identity, "-only", test.check)
			if code != 1 || results[test.check].Verdict != failed {
				t.Errorf("exit code %d, %+v", code, results)
			}
		})
	}
}

func TestFlagsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{}, {"-url", "ftp://x"}, {"-url", "http://x", "-identity", "cookie"}, {"-url", "http://x", "-algorithm", "leaky"},
		{"-url", "http://x", "-requests", "1"}, {"-url", "http://x", "-window", "1s"}, {"-url", "http://x", "-only", "nothing"}, {"-no"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args, &stdout, &stderr); code != 2 || stderr.Len() == 0 {
			t.Errorf("%v: exit code %d, %q", args, code, stderr.String())
		}
	}
}

func TestAnAnswerThatIsNeitherEndsIt(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"-url", s.URL, "-only", "burst"}, &stdout, &stderr); code != 1 || !bytes.Contains(stderr.Bytes(), []byte("404")) {
		t.Errorf("exit code %d, %s", code, stderr.String())
	}
}

// TestTheDensestSpan counts what is certain.
func TestTheDensestSpan(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	at := func(sent, answered int, admitted bool) answer {
		return answer{sent: begin.Add(time.Duration(sent)), answered: begin.Add(time.Duration(answered)), admitted: admitted}
	}
	all := tally{at(0, 1, true), at(5, 6, true), at(7, 8, false), at(9, 30, true), at(10, 11, true), at(20, 21, true)}
	if got := all.densest(11); got != 3 {
		t.Errorf("%d within a span of 11", got)
	}
	if got := all.admitted(); got != 5 {
		t.Errorf("%d admitted", got)
	}
}
