package policies_test

import (
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/internal/yamlnode"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/policies"
)

// parse loads a policy that must have no diagnostics.
func parse(t testing.TB, text string) *policies.Policy {
	t.Helper()
	p, ds := policies.Parse("dir/test.yaml", []byte(text), policies.LoadOptions{LookupEnv: environment})
	if len(ds) > 0 {
		t.Fatalf("diagnostics:\n%s", ds)
	}
	return p
}

const upstreamAndRoute = `
upstreams:
  shop: {servers: [http://127.0.0.1:9001]}
routes:
  - {name: all, path: /*, upstream: shop}
`

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("%s: (-want +got)\n%s", what, diff)
	}
}

func TestTheContractsPolicyLoads(t *testing.T) {
	t.Parallel()
	p, ds := policies.Load("testdata/valid/contract.yaml", policies.LoadOptions{LookupEnv: environment})
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	equal(t, "login's limits", p.Routes[0].Limits, []string{"per-ip", "login-attempts"})
	equal(t, "cert file", p.Server.TLS.CertFile, "testdata/valid/cert.pem")
	equal(t, "ban", p.Limits["login-attempts"].Ban, ratelimit.Ban{After: 20, For: 10 * time.Minute})
	equal(t, "secret", string(p.Session.Secrets[0]), strings.Repeat("s", 32))
	equal(t, "beta", p.Routes[4].Match, policies.Conditions{
		Headers:  map[string]string{"X-Beta": "1"},
		Query:    map[string]string{"v": "2"},
		ClientIP: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	})
}

func TestAServerMayBeDrainedAndItsNameNotResolved(t *testing.T) {
	t.Parallel()
	p, ds := policies.Load("testdata/valid/upstream_names.yaml", policies.LoadOptions{LookupEnv: environment})
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	equal(t, "servers", p.Upstreams["shop"].Servers, []proxy.Server{
		{URL: "http://shop.test", Weight: 1, Resolve: 5 * time.Second},
		{URL: "http://old.test", Weight: -1, Resolve: proxy.DefaultResolve},
		{URL: "http://cdn.test", Weight: 1, Resolve: -1},
	})
}

func TestWhatIsNotWrittenHasItsDefault(t *testing.T) {
	t.Parallel()
	p := parse(t, "version: 1\nlimits: {b: {algorithm: token_bucket, requests: 7, window: 1m}}\n"+strings.Replace(upstreamAndRoute, "upstream: shop}", "upstream: shop, limits: b}", 1))
	equal(t, "listen", p.Server.Listen, []string{":8080"})
	equal(t, "redis timeout", p.Redis.Timeout, 100*time.Millisecond)
	equal(t, "ejection", p.Upstreams["shop"].Ejection, proxy.Ejection{Failures: 5, For: 10 * time.Second})
	equal(t, "weight", p.Upstreams["shop"].Servers[0].Weight, 1)
	equal(t, "burst, which follows the requests", p.Limits["b"].Burst, 0)
	equal(t, "cost", p.Limits["b"].Cost, 1)
	equal(t, "cookie", p.Session.Cookie.Name, "__Host-session")
	r := p.Routes[0]
	equal(t, "route timeout", r.Timeout, 30*time.Second)
	equal(t, "route body", r.MaxBody, 10<<20)
	equal(t, "csrf", r.CSRF, true)
	equal(t, "session", r.Session, session.Off)
	equal(t, "preserve host", r.PreserveHost, true)
	if p.Session.CSRF.Off || p.Upstreams["shop"].HealthCheck.Path != "" {
		t.Error("csrf is on by default, health checks are off")
	}
}

func TestTheCookiesNameFollowsItsAttributes(t *testing.T) {
	t.Parallel()
	for attributes, want := range map[string]string{
		"{}":                    "__Host-session",
		"{domain: example.com}": "session",
		"{path: /app}":          "session",
		"{name: sid}":           "sid",
	} {
		p := parse(t, "version: 1\nsession: {cookie: "+attributes+"}\n"+upstreamAndRoute)
		equal(t, attributes, p.Session.Cookie.Name, want)
	}
}

func TestUnnamedRoutesAreNamedAfterWhatTheyMatch(t *testing.T) {
	t.Parallel()
	p := parse(t, `
version: 1
routes:
  - {path: /a, methods: [GET, PUT], host: h.example, respond: {}}
  - {path: /a, respond: {}}
  - {path: /a, match: {query: {v: 1}}, respond: {}}
`)
	var names []string
	for _, r := range p.Routes {
		names = append(names, r.Name)
	}
	equal(t, "names", names, []string{"GET,PUT h.example/a", "/a", "/a #2"})
}

func TestRoutesInheritFromDefaultsAndGroups(t *testing.T) {
	t.Parallel()
	p := parse(t, `
version: 1
server: {public_scheme: https}
upstreams:
  shop: {servers: [http://127.0.0.1:9001], timeout: 5s}
  other: {servers: [http://127.0.0.1:9002]}
limits:
  a: {requests: 1, window: 1s}
  b: {requests: 1, window: 1s}
  c: {requests: 1, window: 1s}
caches:
  pages: {ttl: 1s}
defaults: {limits: a, upstream: shop, session: optional, cache: pages, csrf: off, max_body: 1KiB}
groups:
  admin: {limits: [b, a], session: required, host: admin.example, cors: off}
  bare: {limits: off, upstream: other}
routes:
  - {name: plain, path: /plain}
  - {name: admin, path: /admin, group: admin, limits: c, session: login, csrf: on}
  - {name: none, path: /none, group: admin, limits: off, cache: off}
  - {name: bare, path: /bare, group: bare, limits: c, max_body: 0}
  - {name: redirect, path: /old/*, redirect: {to: /new/*}}
`)
	type effective struct {
		limits   []string
		upstream string
		cache    string
		session  session.Mode
		csrf     bool
		host     []string
		timeout  time.Duration
		maxBody  int64
	}
	five, thirty := 5*time.Second, 30*time.Second
	want := map[string]effective{
		"plain":    {[]string{"a"}, "shop", "pages", "optional", false, nil, five, 1024},
		"admin":    {[]string{"a", "b", "c"}, "shop", "pages", "login", true, []string{"admin.example"}, five, 1024},
		"none":     {nil, "shop", "", "required", false, []string{"admin.example"}, five, 1024},
		"bare":     {[]string{"c"}, "other", "pages", "optional", false, nil, thirty, 0},
		"redirect": {[]string{"a"}, "", "", "optional", false, nil, 0, 1024},
	}
	for _, r := range p.Routes {
		got := effective{r.Limits, r.Upstream, r.Cache, r.Session, r.CSRF, r.Host, r.Timeout, r.MaxBody}
		if diff := cmp.Diff(want[r.Name], got, cmp.AllowUnexported(effective{})); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", r.Name, diff)
		}
	}
}

func TestVariablesAreExpandedBeforeTyping(t *testing.T) {
	t.Parallel()
	p := parse(t, `
version: 1
limits:
  plain: {requests: "${NUMBER}", window: "${UNSET:-7}d"}
  default:
    requests: ${UNSET:-100}
    window: ${EMPTY:-90s}
    dry_run: ${UNSET:-true}
upstreams:
  shop: {servers: ["http://${UNSET:-h}:${NUMBER}"], retry_budget: "0.${NUMBER}"}
routes:
  - {path: "/$${x}/$y/${NUMBER}", upstream: shop, limits: [plain, default], session: "${UNSET:-required}", respond: off}
redis: {url: "${EMPTY}", key_prefix: "${UNSET:-}p"}
`)
	equal(t, "requests", p.Limits["plain"].Requests, 42)
	equal(t, "window", p.Limits["plain"].Window, 7*24*time.Hour)
	equal(t, "default requests", p.Limits["default"].Requests, 100)
	equal(t, "empty falls back", p.Limits["default"].Window, 90*time.Second)
	equal(t, "bool", p.Limits["default"].DryRun, true)
	equal(t, "url", p.Upstreams["shop"].Servers[0].URL, "http://h:42")
	equal(t, "float", p.Upstreams["shop"].RetryBudget, 0.42)
	equal(t, "path", p.Routes[0].Path[0], "/${x}/$y/42")
	equal(t, "set but empty", p.Redis.URL, "")
	equal(t, "empty default", p.Redis.KeyPrefix, "p")
}

func TestWordsOfOldYAMLAreJustWords(t *testing.T) {
	t.Parallel()
	p := parse(t, `
version: 1
session: {csrf: off}
server: {access_log: off, rate_limit_headers: off, admin: {listen: off}}
upstreams:
  yes: {servers: [http://h], ejection: off, health_check: on}
routes:
  - {path: /*, upstream: yes, session: off, cache: off, limits: off, csrf: off, match: {query: {v: 2, on: no}}}
`)
	if !p.Session.CSRF.Off || !p.Upstreams["yes"].Ejection.Off || p.Routes[0].CSRF || len(p.Routes[0].Limits) > 0 {
		t.Error("off does not switch off")
	}
	equal(t, "health check", p.Upstreams["yes"].HealthCheck.Path, "/healthz")
	equal(t, "query", p.Routes[0].Match.Query, map[string]string{"v": "2", "on": "no"})
}

func TestAnchorsAliasesAndMergesWork(t *testing.T) {
	t.Parallel()
	p := parse(t, `
version: 1
x-limit: &limit {window: 1m, key: [ip, route], requests: 1}
x-more: &more {requests: 2, cost: 2}
x-servers: &servers [http://a, http://b]
limits:
  one: {<<: *limit, requests: 5}
  two: {<<: [*more, *limit]}
upstreams:
  shop: {servers: *servers}
routes:
  - {path: /*, upstream: shop, limits: [one, two]}
`)
	equal(t, "own key wins", p.Limits["one"].Requests, 5)
	equal(t, "merged", p.Limits["one"].Key, []ratelimit.KeyPart{{Kind: ratelimit.KeyIP}, {Kind: ratelimit.KeyRoute}})
	equal(t, "earlier merge wins", p.Limits["two"].Requests, 2)
	equal(t, "alias", len(p.Upstreams["shop"].Servers), 2)
}

func TestSizesAndDurations(t *testing.T) {
	t.Parallel()
	p := parse(t, `
version: 1
server: {max_body: 0, shutdown_grace: 1m30s, max_header_bytes: 65536}
session: {absolute_timeout: 1d12h, idle_timeout: 7h}
caches: {c: {max_body: 2GiB, ttl: 7d}}
upstreams: {shop: {servers: [http://h], slow_start: 1500ms}}
routes: [{path: /*, upstream: shop, cache: c}]
`)
	for want, got := range map[string]string{
		"0": yamlnode.FormatSize(p.Server.MaxBody), "64KiB": yamlnode.FormatSize(p.Server.MaxHeaderBytes), "2GiB": yamlnode.FormatSize(p.Caches["c"].MaxBody),
		"1m30s": yamlnode.FormatDuration(p.Server.ShutdownGrace), "36h": yamlnode.FormatDuration(p.Session.AbsoluteTimeout), "7d": yamlnode.FormatDuration(p.Caches["c"].TTL),
		"1.5s": yamlnode.FormatDuration(p.Upstreams["shop"].SlowStart), "7h": yamlnode.FormatDuration(p.Session.IdleTimeout), "0s": yamlnode.FormatDuration(0),
	} {
		equal(t, want, got, want)
	}
}

func TestRelativePathsStartAtThePolicyFile(t *testing.T) {
	t.Parallel()
	p, ds := policies.Parse("dir/test.yaml", []byte(`
version: 1
server: {access_log: logs/access.json, tls: {cert_file: /abs/cert.pem, key_file: ../key.pem}, admin: {token_file: secrets/token}}
`+upstreamAndRoute), policies.LoadOptions{ReadFile: func(path string) ([]byte, error) {
		if path != filepath.Join("dir", "secrets", "token") {
			return nil, fs.ErrNotExist
		}
		return []byte("from the file\r\n"), nil
	}})
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	equal(t, "log", p.Server.AccessLog.Path, "dir/logs/access.json")
	equal(t, "cert", p.Server.TLS.CertFile, "/abs/cert.pem")
	equal(t, "key", p.Server.TLS.KeyFile, "key.pem")
	equal(t, "token", p.Server.Admin.Token, "from the file")
	equal(t, "files", p.Files(), []string{"dir/test.yaml", "dir/secrets/token"})
}

func TestSeveralFilesAreOnePolicy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	main := write("main.yaml", `
version: 1
include: [parts/*.yaml, main.yaml]
server: {listen: ":1"}
routes: [{name: first, path: /1, upstream: shop}]
`)
	write("parts/a.yaml", "version: 1\nserver: {admin: {token_file: token}}\nroutes: [{name: second, path: /2, upstream: shop}]\n")
	write("parts/b.yaml", "upstreams: {shop: {servers: [http://h]}}\n")
	write("parts/token", "t")
	more := write("more.yaml", "routes: [{name: third, path: /3, upstream: shop}]\n")
	p, ds := policies.LoadFiles([]string{main, more}, policies.LoadOptions{})
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	var names []string
	for _, r := range p.Routes {
		names = append(names, r.Name)
	}
	equal(t, "routes", names, []string{"first", "second", "third"})
	equal(t, "token", p.Server.Admin.Token, "t")
	equal(t, "position", p.Position("routes[1].path").File, filepath.Join(dir, "parts", "a.yaml"))
	if _, ds := policies.LoadFiles(nil, policies.LoadOptions{}); !ds.HasErrors() {
		t.Error("no files are no policy")
	}
}
