package server_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/observe"
	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/policies"
	"pgregory.net/rapid"
)

// TestExplainSaysWhatServeDoes: for policies and requests at random, what explain says
// of a request is what becomes of it when it is served right afterwards: the route, the
// status where the gateway answers itself, which limits count and what remains of them,
// and the cache key, by which later requests of the same key are hits.
func TestExplainSaysWhatServeDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy := drawPolicy(t)
		w := newExplained(t, policy)
		defer w.close()
		for range rapid.IntRange(5, 40).Draw(t, "requests") {
			w.compare(t, w.drawRequest(t))
		}
	})
}

// drawPolicy makes a policy of routes that compete, and that ask for all sorts of things.
func drawPolicy(t *rapid.T) string {
	one := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nserver: {max_body: 1KiB, deny: [192.0.2.66], rate_limit_headers: %s}\n", one("headers", "draft", "legacy", "off"))
	b.WriteString("upstreams: {app: {servers: [\"http://app.test\"]}}\n")
	b.WriteString("clients: {acme: {key_sha256: 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8, plan: gold}}\n")
	b.WriteString("session: {login_path: /login}\n")
	b.WriteString("caches:\n  pages: {ttl: 1h, ignore_query: [\"utm_*\"], key_headers: [X-Tenant]}\n  other: {ttl: 1h, query: [id]}\n")
	b.WriteString("limits:\n")
	for _, name := range []string{"one", "two"} {
		burst := ""
		algorithm := one(name+" algorithm", "fixed_window", "sliding_window", "sliding_log", "token_bucket")
		if algorithm == "token_bucket" {
			burst = one(name+" burst", "", ", burst: 3")
		}
		fmt.Fprintf(&b, "  %s: {algorithm: %s, key: %s, requests: %s, window: 1h, plans: {gold: %s%s}%s, count: %s, dry_run: %s}\n", name, algorithm,
			one(name+" key", "ip", "user", "session", "client", "[ip, route]", "method", "header:X-Tenant", "query:id", "[ip, query:id]"), one(name+" requests", "2", "5", "50", "0"),
			one(name+" gold", "3", "60", "0"), one(name+" user", "", ", user: 4"), burst, one(name+" count", "all", "failed", "[200, 401]"), one(name+" dry", "false", "false", "true"))
	}
	b.WriteString("routes:\n")
	paths := []string{"/login", "/a", "/a/:id", "/a/*", "/*.css", "/*", "/b/:x/c"}
	b.WriteString("  - {name: signin, path: /signin, upstream: app, session: login}\n")
	for i := range rapid.IntRange(1, 6).Draw(t, "routes") {
		fmt.Fprintf(&b, "  - {name: r%d, path: %q, %s", i, paths[i], drawAnswer(t, one))
		for _, setting := range []string{
			one("methods", "", "", "methods: [GET]", "methods: [POST, OPTIONS]"), one("host", "", "", "host: a.test", "host: \"*.test\""),
			one("match", "", "", "", "match: {plan: gold}", "match: {path_regex: \"b$\"}", "match: {cookies: {session: present}}", "match: {headers: {X-Tenant: present}, scheme: http}"),
			one("limits", "", "limits: one", "limits: [one, two]"), one("client", "", "", "client: required"),
			one("cors", "", "", "cors: {allow_origins: \"https://page.test\"}"), one("maintenance", "", "", "", "maintenance: {allow: 192.0.2.7}"),
			one("max_body", "", "max_body: 10"), one("csrf", "", "csrf: off"),
		} {
			if setting != "" {
				b.WriteString(", " + setting)
			}
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// drawAnswer says who answers on a route, and what goes with that.
func drawAnswer(t *rapid.T, one func(string, ...string) string) string {
	switch rapid.IntRange(0, 5).Draw(t, "answer") {
	case 0:
		return "respond: {status: " + one("respond", "200", "204", "403", "503") + "}"
	case 1:
		return "redirect: {to: \"https://new.test/x\", status: " + one("redirect", "301", "302", "308") + "}"
	}
	answer := "upstream: app" + one("compress", "", "", ", compress: on") + ", session: " + one("session", "off", "optional", "required", "login", "logout")
	if cache := one("cache", "", "pages", "other"); cache != "" {
		answer += ", cache: " + cache
	}
	if rewrite := one("rewrite", "", "", "rewrite: /elsewhere", "request_headers: {set: {X-A: b}}", "preserve_host: false"); rewrite != "" {
		answer += ", " + rewrite
	}
	return answer
}

// explained is a gateway whose answers are compared with its explanations.
type explained struct {
	gateway *server.Server
	record  observe.Record
	cookie  string          // of the client's session
	stored  map[string]bool // cache keys that a request has filled
	perhaps map[string]bool // those that one may have filled
}

func newExplained(t *rapid.T, policy string) *explained {
	w := &explained{stored: map[string]bool{}, perhaps: map[string]bool{}}
	p, problems := policies.Parse("headgate.yaml", []byte(policy), policies.LoadOptions{})
	if problems.HasErrors() {
		t.Skip(problems) // routes that no request can reach, and the like
	}
	var err error
	w.gateway, err = server.New(server.Options{
		Policy: p, Logger: slog.New(slog.DiscardHandler), AccessLog: io.Discard,
		Transport: func(string) http.RoundTripper { return roundTrip(answerAsApp) },
		Observe:   func(r *observe.Record) { w.record = *r },
		Now:       func() time.Time { return time.Unix(1_800_000_000, 0) },
	})
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, policy)
	}
	return w
}

func (w *explained) close() { _ = w.gateway.Shutdown(context.Background()) }

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answerAsApp logs in whoever asks for it, and fails where it is asked to.
func answerAsApp(r *http.Request) (*http.Response, error) {
	h := http.Header{"Content-Type": {"text/plain"}}
	status := http.StatusOK
	if r.Header.Get("X-Fail") != "" {
		status = http.StatusUnauthorized
	}
	if user := r.Header.Get("X-Login"); user != "" {
		h.Set("Headgate-Login", user)
	}
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Request: r,
		Body: io.NopCloser(strings.NewReader("x")), ContentLength: 1,
	}, nil
}

// drawn is a request in the form that both explain and serve can be asked with.
type drawn struct {
	method, target, host, scheme, addr string
	header                             http.Header
	body                               int
}

func (w *explained) drawRequest(t *rapid.T) drawn {
	one := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	d := drawn{
		method: one("method", "GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "DELETE", "PURGE", "CONNECT"),
		target: one("target", "/", "/a", "/a/7", "/a/7?id=1", "/a/7?id=1&utm_source=x", "/a/../login", "/login", "/signin", "/signin", "/b/1/c", "/a//7", "/a/%2e%2e/x", "/a/..%2Fx", "/x%00", "/%7Ea/é"),
		host:   one("host", "a.test", "A.test:80", "b.test.", "other", "", "bad host", "[::1]:8080"),
		scheme: one("scheme", "http", "https"),
		addr:   one("addr", "192.0.2.7", "192.0.2.8", "192.0.2.66", "2001:db8::1"),
		header: http.Header{},
	}
	choices := map[string][]string{
		"Accept":                        {"", "text/html", "*/*", "text/html;q=0"},
		"Origin":                        {"", "", "https://page.test", "https://evil.test"},
		"Access-Control-Request-Method": {"", "", "POST"},
		"Sec-Fetch-Site":                {"", "", "cross-site", "same-origin"},
		"Sec-Fetch-Mode":                {"", "", "navigate", "cors"},
		"X-Api-Key":                     {"", "", "password", "wrong"},
		"X-Tenant":                      {"", "a", "b"},
		"X-Fail":                        {"", "", "1"},
		"X-Login":                       {"", "42"},
		"Cookie":                        {"", "mine", "mine", "mine", "__Host-session=junk", "theme=dark"},
	}
	for _, name := range slices.Sorted(maps.Keys(choices)) {
		value := one(name, choices[name]...)
		if value == "mine" {
			value = w.cookie
		}
		if value != "" {
			d.header.Set(name, value)
		}
	}
	if d.method == "POST" {
		d.body = rapid.SampledFrom([]int{0, 5, 11, 2000}).Draw(t, "body")
	}
	return d
}

func (w *explained) compare(t *rapid.T, d drawn) {
	header := d.header.Clone()
	if d.body > 0 {
		header.Set("Content-Length", fmt.Sprint(d.body))
	}
	header.Set("Host", d.host)
	e, err := w.gateway.Explain(context.Background(), pipeline.Question{Method: d.method, URL: d.scheme + "://" + "any" + d.target, IP: d.addr, Header: header})
	if err != nil {
		return // no URL
	}
	rec := w.serve(d)
	if w.record.Route != e.Route {
		t.Fatalf("route: served %q, explained %q: %+v", w.record.Route, e.Route, d)
	}
	if e.Status != 0 && e.Status != rec.Code {
		t.Fatalf("status: served %d (%s), explained %d %s: %+v", rec.Code, w.record.Error, e.Status, e.Refused, d)
	}
	if e.Status == 0 && w.record.Error != "" && w.record.Status != http.StatusBadGateway {
		t.Fatalf("explained to pass, yet %d %s: %+v", rec.Code, w.record.Error, d)
	}
	w.compareLimits(t, e, d)
	w.compareCache(t, e, rec.Code, d)
}

// serve sends the request through the gateway, and keeps the session that it is given.
func (w *explained) serve(d drawn) *httptest.ResponseRecorder {
	r := &http.Request{
		Method: d.method, RequestURI: d.target, Host: d.host, Header: d.header.Clone(), Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: "[" + d.addr + "]:1234",
	}
	if !strings.Contains(d.addr, ":") {
		r.RemoteAddr = d.addr + ":1234"
	}
	if u, err := url.ParseRequestURI(d.target); err == nil {
		r.URL = u
	}
	if d.body > 0 {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("b", d.body))), int64(d.body)
	}
	if d.scheme == "https" {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true}
	}
	rec := httptest.NewRecorder()
	w.gateway.ServeHTTP(rec, r)
	w.gateway.WaitForFetches()
	for _, c := range rec.Result().Cookies() {
		if c.MaxAge >= 0 && c.Value != "" {
			w.cookie = c.Name + "=" + c.Value
		}
	}
	return rec
}

// compareLimits: a request that limits deny is explained so, and the other way round.
// Where several deny, the deny cache may know only some of them.
func (w *explained) compareLimits(t *rapid.T, e *pipeline.Explanation, d drawn) {
	var denying []string
	for _, l := range e.Limits {
		if l.Unknown == "" && !l.Admits && !l.DryRun {
			denying = append(denying, l.Name)
		}
	}
	if denied := w.record.Limit != ""; denied != (len(denying) > 0) || denied && !slices.Contains(denying, w.record.Limit) {
		t.Fatalf("served: denied by %q; explained: %+v: %+v", w.record.Limit, e.Limits, d)
	}
}

// compareCache: a GET is a hit if one of the same explained key was stored before, and
// only then.
func (w *explained) compareCache(t *rapid.T, e *pipeline.Explanation, status int, d drawn) {
	key, hit := strings.Join(e.CacheKey, "|"), w.record.Cache == "hit"
	if hit && !w.stored[key] && !w.perhaps[key] {
		t.Fatalf("a hit, and no request had the key %q before: %+v", key, d)
	}
	if d.method != http.MethodGet && d.method != http.MethodHead && d.method != http.MethodOptions {
		for stored := range w.stored { // it may have been invalidated
			delete(w.stored, stored)
			w.perhaps[stored] = true
		}
	}
	if key == "" || e.Status != 0 || status != http.StatusOK {
		return
	}
	// What personal requests fetch is stored only on some routes.
	personal := d.header.Get("Cookie") != "" || d.header.Get("X-Api-Key") == "password" || d.header.Get("X-Login") != ""
	switch {
	case d.method != http.MethodGet || personal:
		w.perhaps[key] = true
	case !hit && w.stored[key]:
		t.Fatalf("%s, and the key %q was stored: %+v", w.record.Cache, key, d)
	default:
		w.stored[key] = true
	}
}
