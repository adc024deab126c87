package server_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/policies"
	"pgregory.net/rapid"
)

// What `headgate check` accepts, `headgate serve` starts: policies are made of keys whose values
// are sometimes mistakes, and whatever loads must make a server.
func TestWhatCheckAcceptsServeStarts(t *testing.T) {
	t.Parallel()
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		text := drawCheckedPolicy(t)
		policy, found := policies.Parse("headgate.yaml", []byte(text), policies.LoadOptions{CheckFiles: true})
		if policy == nil {
			if !found.HasErrors() {
				t.Fatalf("refused without an error:\n%s", text)
			}
			return
		}
		accepted++
		s, err := server.New(server.Options{Policy: policy, Logger: slog.New(slog.DiscardHandler), AccessLog: io.Discard})
		if err != nil {
			t.Fatalf("check accepts what serve refuses: %v\n%s", err, text)
		}
		if err := s.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
	if accepted == 0 {
		t.Error("no policy was accepted, so nothing was tried")

	}
}

// oneOf draws one of several values: most often the first, which is as it should be.
func oneOf(t *rapid.T, name string, values ...string) string {
	if rapid.IntRange(0, 24).Draw(t, "odd") < 24 {
		return values[0]
	}
	return rapid.SampledFrom(values).Draw(t, name)
}

// drawSection draws some keys of a mapping, each with one of its values.
func drawSection(t *rapid.T, name string, keys ...[]string) string {
	var written []string
	for _, key := range keys {
		if rapid.Bool().Draw(t, name+"."+key[0]) {
			written = append(written, key[0]+": "+oneOf(t, key[0], key[1:]...))
		}
	}
	return "{" + strings.Join(written, ", ") + "}"
}

func drawCheckedPolicy(t *rapid.T) string {
	var b strings.Builder
	b.WriteString("version: 1\n")
	fmt.Fprintf(&b, "server: %s\n", drawSection(t, "server",
		[]string{"listen", `"127.0.0.1:0"`, `":99999"`, `[":0", ":0"]`, `"127.0.0.1:0x"`},
		[]string{"trusted_proxies", "10.0.0.0/8", "[10.1.2.3/8, ::1]", "nowhere"},
		[]string{"client_ip_header", "forwarded", "x-real-ip"},
		[]string{"ipv6_prefix", "56", "31", "129", "0"},
		[]string{"protocols", "[http1]", "[http2]", "h2c", "[]", "[http1, http1]"},
		[]string{"max_body", "1MiB", "0", "2PiB"},
		[]string{"max_header_bytes", "8KiB", "1KiB", "1GiB"},
		[]string{"read_header_timeout", "5s", "0s", "1h", "1ns"},
		[]string{"idle_timeout", "1m", "0s", "999ms"},
		[]string{"min_body_rate", "1KiB", "0", "1GiB", "2GiB"},
		[]string{"body_timeout", "1m", "0s", "1ns"},
		[]string{"write_timeout", "1m", "0s", "1ns"},
		[]string{"spool_dir", "/tmp", "\"\""},
		[]string{"max_connections_per_ip", "10", "0", "-1", "9999999"},
		[]string{"shutdown_delay", "1s", "30s", "31s"},
		[]string{"rate_limit_headers", "legacy", "off", "both"},
		[]string{"access_log", "stdout", "off", "no/such/folder/access.log"},
		[]string{"admin", `{listen: "127.0.0.1:0"}`, "{listen: off}", `{listen: ":0", token: x}`, `{listen: ":0"}`},
	))
	// Nothing listens on port 1. The gateway serves without its Redis.
	fmt.Fprintf(&b, "redis: %s\n", drawSection(t, "redis",
		[]string{"url", `"redis://127.0.0.1:1"`, `"rediss://127.0.0.1:1"`, `"redis://u:p@127.0.0.1:1"`, `"redis+sentinel://127.0.0.1:1/m"`, `""`},
		[]string{"username", "gate", `""`},
		[]string{"password_file", "/dev/null", "missing"},
		[]string{"tls", "{}", "{server_name: h}", "{ca_file: /dev/null}", "{cert_file: missing}", "{cert_file: missing, key_file: missing}"},
		[]string{"timeout", "100ms", "0s", "2m"},
		[]string{"sessions", `{url: "redis://127.0.0.1:1"}`, "{}", "{username: x}", `{url: "rediss://127.0.0.1:1", tls: {server_name: h}}`},
		[]string{"cache", `{url: "redis://127.0.0.1:1/1"}`, "{}", `{url: "nowhere"}`},
	))
	fmt.Fprintf(&b, "session: %s\n", drawSection(t, "session",
		[]string{"cookie", drawSection(t, "cookie",
			[]string{"name", "sid", "__Host-sid", "__secure-sid", `""`, `"a b"`, `"é"`},
			[]string{"same_site", "strict", "none", "loose"},
			[]string{"secure", "true", "false"},
			[]string{"domain", "example.com", ".example.com", "com", `"a..b"`, "1.2.3.4", `"[::1]"`, "EXAMPLE.com"},
			[]string{"path", "/app", `"/a;b"`, `"/é"`, "app", `"/a\tb"`, `"/a b"`},
		)},
		[]string{"secrets", `"0123456789abcdef0123456789abcdef"`, "short", `["", x]`},
		[]string{"idle_timeout", "1m", "0s", "1ns", "13h"},
		[]string{"absolute_timeout", "1d", "1m", "0s", "1ns"},
		[]string{"rotate_every", "10m", "0s", "1s"},
		[]string{"max_per_user", "3", "0", "1001"},
		[]string{"login_path", "/in", `""`, "//x", `"/a?b=c"`, `"/é"`, `"/%zz"`, `"/a#b"`, `"/../x"`},
		[]string{"csrf", "off", "{trusted_origins: [https://a.example]}", `{trusted_origins: ["https://a.example:99999", "ftp://x", "https://*.a.example", "null", "https://é.example"]}`},
		[]string{"secrets_file", "[]", "no-such-file", `""`},
		[]string{"assertion", "off", "{}", "{key_file: no-such-file.pem}", `{key_file: ""}`, "{audience: x, ttl: 0s}"},
	))
	servers := oneOf(t, "servers", `["http://127.0.0.1:9"]`, `["http://LOCALHOST:9", "http://localhost:9/"]`, `["https://a", {url: "https://b", weight: 2}]`, `[""]`, `["http://h:99999"]`, `["http://h:0"]`, `["http://[::1]:9"]`, `["http://[::1%25eth0]:9"]`, `["HTTP://h"]`, `["http://a b"]`, `["http://h?"]`, `["http://h#"]`, `["http://h", "http://h:80"]`, `[{url: "http://h", weight: 0}]`, `["http://h", {url: "http://i", backup: true}]`, `[{url: "http://h", backup: true}]`, `[]`, `["http://é"]`, `["http://h:"]`, `["http://h", "http://h:"]`,
		`["unix:/run/a.sock"]`, `["unix:/run/a.sock", "http://h"]`, `["unix:a.sock"]`, `["unix:/a", "unix:///./a"]`, `["unix://h/a"]`, `["unix:/"]`)
	fmt.Fprintf(&b, "upstreams:\n  app: {servers: %s, %s\n", servers, strings.TrimPrefix(drawSection(t, "upstream",
		[]string{"balance", "p2c", "ip_hash", "fair", "cookie"},
		[]string{"cookie", "{}", "{name: server}", "{name: session}", `{name: "a b"}`},
		[]string{"health_check", "on", drawSection(t, "health_check",
			[]string{"path", "/up", "up", "//up", `"/é"`, `"/a?b"`, `"/%zz"`, `"/a#b"`, `"/a b"`},
			[]string{"interval", "1s", "0s", "100ms", "50ms"},
			[]string{"timeout", "100ms", "0s", "2s"},
			[]string{"healthy_after", "1", "0", "101"},
			[]string{"expect", "204", "0", "99"},
			[]string{"unhealthy_after", "1", "0", "101"},
			[]string{"host", "shop.example", `"a b"`, "http://x", `"shop:99999"`},
			[]string{"headers", "{X-A: b}", "{Host: x}", `{"a b": c}`, "{Connection: close}", `{X-A: "a\nb"}`},
			[]string{"port", "8081", "0", "-1", "65536"},
		)},
		[]string{"ejection", "off", "{failures: 1000}", "{failures: 0}", "{for: 0s}", "{for: 1ns}", "{for: 3660d}"},
		[]string{"slow_start", "10s", "0s"},
		[]string{"max_connections", "10", "0", "-1"},
		[]string{"waiting", "off", "on", "{requests: 5, timeout: 1s}", "{requests: 0}", "{timeout: 0s}", "{requests: 1048577}"},
		[]string{"connect_timeout", "1s", "0s"},
		[]string{"timeout", "5s", "0s"},
		[]string{"read_timeout", "5s", "0s", "-1s"},
		[]string{"idle_timeout", "5s", "0s", "-1s"},
		[]string{"max_age", "5m", "0s", "-1s"},
		[]string{"tcp_keepalive", "1m", "off", "0s", "1ns", "10h"},
		[]string{"retries", "2", "0", "11", "-1"},
		[]string{"retry", "{on: [connect, 429, 503]}", "{on: [connect, timeout], try_timeout: 1s}", "{on: timeout}", "{try_timeout: 1s}", "{on: [timeout], try_timeout: 1h}", "{on: []}", "{on: [404]}", "{on: [503, 503]}", "{idempotency_key: true}", "{}"},
		[]string{"retry_budget", "0.5", "0", "1", "1.1", "-0.5"},
		[]string{"protocol", "auto", "http1", "h2c", "http2", "http3"},
		[]string{"tls", "off", "{server_name: x}", "{server_name: é}", "{ca_file: no-such-file.pem}", "{cert_file: no-such-file.pem, key_file: no-such-file.pem}", "{cert_file: a.pem}", "{insecure_skip_verify: true}"},
	), "{"))
	fmt.Fprintf(&b, "clients: {acme: {key_sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, plan: gold}}\n")
	count := rapid.SampledFrom([]int{1, 1, 1, 2, 32, 33}).Draw(t, "limits")
	var names []string
	b.WriteString("limits:\n")
	for i := range count {
		names = append(names, fmt.Sprintf("l%d", i))
		if i > 1 {
			fmt.Fprintf(&b, "  l%d: {requests: 1, window: 1m}\n", i)
			continue
		}
		fmt.Fprintf(&b, "  l%d: {requests: %s, window: %s, %s\n", i,
			oneOf(t, "requests", "10", "1", "0", "-1", "50000", "60000", "1000000000", "1000000001"),
			oneOf(t, "window", "1m", "1s", "366d", "367d", "1000000001ns", "999ms", "1500ms"),
			strings.TrimPrefix(drawSection(t, "limit",
				[]string{"algorithm", "token_bucket", "fixed_window", "sliding_window", "sliding_log", "leaky"},
				[]string{"key", "ip", "[ip, route]", "[]", "header:X-A", `"header:a b"`, "[ip, ip]", "cookie:", "nobody", "host"},
				[]string{"burst", "60", "0", "1000", "1000000000"},
				[]string{"plans", "{gold: 20}", "{gold: 0}", "{gold: 60000}", "{gold: 1000000000}"},
				[]string{"count", "failed", "all", "[401]", "[]", "[42]", "some"},
				[]string{"cost", "1", "2", "0", "60"},
				[]string{"on_redis_error", "open", "panic"},
				[]string{"allow", "[192.0.2.0/24]", "0.0.0.0/0"},
				[]string{"ban", "{after: 3, for: 1m}", "off", "{after: 3, for: 500ms}", "{for: 400d, after: 1}", "{for: 1m}", "{}", "{after: 0, for: 0s}", "{after: 1000001, for: 1m}"},
			), "{"))
	}
	fmt.Fprintf(&b, "caches:\n  pages: %s\n", drawSection(t, "cache",
		[]string{"ttl", "1m", "0s"},
		[]string{"force_ttl", "0s", "1m"},
		[]string{"tags", "[a]", `[" "]`, `["a,b"]`, `[""]`},
		[]string{"ignore_query", `["utm_*"]`, `["*a*"]`, `[""]`, "[]"},
		[]string{"query", "[id]", "[]", `[""]`, `["*x"]`},
		[]string{"ignore_cookies", `["_ga*"]`, `["*"]`, `[""]`},
		[]string{"key_headers", "[X-A]", "[Cookie]", `["a b"]`},
		[]string{"max_body", "1KiB", "0"},
		[]string{"errors", "{404: 1s}", "{200: 1s}", "{404: 0s}"},
	))
	fmt.Fprintf(&b, "routes:\n  - {name: all, path: /*, upstream: app, cache: pages, limits: [%s]}\n", strings.Join(names, ", "))
	fmt.Fprintf(&b, "  - {name: one, path: /one, upstream: app, %s\n", strings.TrimPrefix(drawSection(t, "route",
		[]string{"session", "required", "login", "logout", "none"},
		[]string{"limits", "off", "l0", "[l0, l0]"},
		[]string{"csrf", "off", "on"},
		[]string{"timeout", "1s", "0s"},
		[]string{"strip_prefix", "/one", "/two", `"/é"`},
		[]string{"rewrite", "/x", `"/:id"`, "x"},
		[]string{"cors", `{allow_origins: "*"}`, `{allow_origins: ["https://a.example:99999"]}`, `{allow_origins: [https://*.a.example], allow_credentials: true, allow_methods: [get], max_age: 0s}`, "{}"},
		[]string{"request_headers", "{set: {X-A: b}, remove: [X-B]}", "{set: {Host: x}}", `{add: {"a b": c}}`},
		[]string{"maintenance", "off", "on", "{retry_after: 0s}"},
		[]string{"purge", "[a]", `[""]`},
	), "{"))
	return b.String()
}
