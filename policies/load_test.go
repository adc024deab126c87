package policies_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
	equal(t, "login's limits", p.Routes[0].Limits, policies.Names{"per-ip", "login-attempts"})
	equal(t, "cert file", p.Server.TLS.CertFile, "testdata/valid/cert.pem")
	equal(t, "ban", *p.Limits["login-attempts"].Ban, policies.Ban{After: 20, For: policies.Duration(10 * time.Minute)})
	equal(t, "secret", p.Session.Secrets[0].Reveal(), strings.Repeat("s", 32))
	equal(t, "beta", p.Routes[4].Match, policies.Conditions{
		Headers:  map[string]string{"X-Beta": "1"},
		Query:    map[string]string{"v": "2"},
		ClientIP: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	})
}

func TestWhatIsNotWrittenHasItsDefault(t *testing.T) {
	t.Parallel()
	p := parse(t, "version: 1\nlimits: {b: {algorithm: token_bucket, requests: 7, window: 1m}}\n"+strings.Replace(upstreamAndRoute, "upstream: shop}", "upstream: shop, limits: b}", 1))
	equal(t, "listen", p.Server.Listen, policies.Strings{":8080"})
	equal(t, "redis timeout", p.Redis.Timeout, policies.Duration(100*time.Millisecond))
	equal(t, "ejection", *p.Upstreams["shop"].Ejection, policies.Ejection{Failures: 5, For: policies.Duration(10 * time.Second)})
	equal(t, "weight", p.Upstreams["shop"].Servers[0].Weight, 1)
	equal(t, "burst", p.Limits["b"].Burst, 7)
	equal(t, "cost", p.Limits["b"].Cost, 1)
	equal(t, "cookie", p.Session.Cookie.Name, "__Host-session")
	r := p.Routes[0]
	equal(t, "route timeout", r.Timeout, policies.Duration(30*time.Second))
	equal(t, "route body", r.MaxBody, 10<<20)
	equal(t, "csrf", r.CSRF, true)
	equal(t, "session", r.Session, policies.SessionOff)
	equal(t, "preserve host", r.PreserveHost, true)
	if p.Session.CSRF == nil || p.Upstreams["shop"].HealthCheck != nil {
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
		cache    policies.CacheRef
		session  policies.SessionRule
		csrf     policies.Switch
		host     policies.Strings
		timeout  policies.Duration
		maxBody  policies.Size
	}
	five, thirty := policies.Duration(5*time.Second), policies.Duration(30*time.Second)
	want := map[string]effective{
		"plain":    {[]string{"a"}, "shop", "pages", "optional", false, nil, five, 1024},
		"admin":    {[]string{"a", "b", "c"}, "shop", "pages", "login", true, policies.Strings{"admin.example"}, five, 1024},
		"none":     {nil, "shop", "", "required", false, policies.Strings{"admin.example"}, five, 1024},
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
	equal(t, "window", p.Limits["plain"].Window, policies.Duration(7*24*time.Hour))
	equal(t, "default requests", p.Limits["default"].Requests, 100)
	equal(t, "empty falls back", p.Limits["default"].Window, policies.Duration(90*time.Second))
	equal(t, "bool", p.Limits["default"].DryRun, true)
	equal(t, "url", p.Upstreams["shop"].Servers[0].URL, "http://h:42")
	equal(t, "float", p.Upstreams["shop"].RetryBudget, 0.42)
	equal(t, "path", p.Routes[0].Path[0], "/${x}/$y/42")
	equal(t, "set but empty", p.Redis.URL.Reveal(), "")
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
	if p.Session.CSRF != nil || p.Upstreams["yes"].Ejection != nil || p.Routes[0].CSRF || len(p.Routes[0].Limits) > 0 {
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
	equal(t, "merged", p.Limits["one"].Key, policies.Strings{"ip", "route"})
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
		"0": p.Server.MaxBody.String(), "64KiB": p.Server.MaxHeaderBytes.String(), "2GiB": p.Caches["c"].MaxBody.String(),
		"1m30s": p.Server.ShutdownGrace.String(), "36h": p.Session.AbsoluteTimeout.String(), "7d": p.Caches["c"].TTL.String(),
		"1.5s": p.Upstreams["shop"].SlowStart.String(), "7h": p.Session.IdleTimeout.String(), "0s": policies.Duration(0).String(),
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
	equal(t, "log", p.Server.AccessLog, "dir/logs/access.json")
	equal(t, "cert", p.Server.TLS.CertFile, "/abs/cert.pem")
	equal(t, "key", p.Server.TLS.KeyFile, "key.pem")
	equal(t, "token", p.Server.Admin.Token.Reveal(), "from the file")
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
	equal(t, "token", p.Server.Admin.Token.Reveal(), "t")
	equal(t, "position", p.Position("routes[1].path").File, filepath.Join(dir, "parts", "a.yaml"))
	if _, ds := policies.LoadFiles(nil, policies.LoadOptions{}); !ds.HasErrors() {
		t.Error("no files are no policy")
	}
}

// What matters is that these end: the YAML library alone would not see to that.
func TestHostileFilesEndInAFewDiagnostics(t *testing.T) {
	t.Parallel()
	const most = 4 << 20
	for name, text := range map[string]string{
		"deep lists":        strings.Repeat("[", 100_000),
		"deep blocks":       strings.Repeat("- ", 100_000),
		"deep routes":       "routes: " + strings.Repeat("[", 5_000) + strings.Repeat("]", 5_000),
		"many empty routes": "routes: [" + strings.Repeat("{},", most/64) + "]",
		"many alike routes": "x-r: &r {path: /a, respond: {}}\nroutes: [" + strings.Repeat("*r,", 20_000) + "]",
		"many keys":         "limits: {" + strings.Repeat("a", 1000) + strings.Repeat(": 1, a", 20_000) + ": 1}",
		"a merge of merges": "x-a: &a {a: 1}\nx-b: &b {<<: [" + strings.Repeat("*a,", 1000) + "]}\nx-c: &c {<<: [" + strings.Repeat("*b,", 1000) + "]}\nserver: {<<: [" + strings.Repeat("*c,", 1000) + "]}",
		"one long scalar":   "version: " + strings.Repeat("9", most/4),
		"long variable":     "version: " + strings.Repeat("${", most/8),
		"control character": "version: \x01",
		"not UTF-8":         "version: \xff",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, ds := policies.Parse("p.yaml", []byte(text), policies.LoadOptions{LookupEnv: environment})
			if !ds.HasErrors() || len(ds) > 1001 {
				t.Errorf("%d diagnostics", len(ds))
			}
			for _, d := range ds {
				if len(d.String()) > 2000 {
					t.Errorf("a diagnostic of %d bytes", len(d.String()))
				}
			}
		})
	}
}

func TestOversizedAndUnreadableFilesAreErrors(t *testing.T) {
	t.Parallel()
	large := func(string) ([]byte, error) { return []byte(strings.Repeat("# comment\n", 1<<20)), nil }
	broken := func(string) ([]byte, error) { return nil, errors.New("the disk is on fire") }
	for want, read := range map[string]func(string) ([]byte, error){"larger than 4 MiB": large, "the disk is on fire": broken} {
		_, ds := policies.Load("p.yaml", policies.LoadOptions{ReadFile: read})
		if err := ds.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	_, ds := policies.Parse("p.yaml", []byte("server: {"+strings.Repeat("a: 1, ", 3)+strings.Join(strings.Split(strings.Repeat("k", 2000), ""), "x: 1, ")+": 1}"), policies.LoadOptions{})
	if len(ds) > 1001 {
		t.Errorf("%d diagnostics", len(ds))
	}
}

func TestSecretsAreMaskedWhereverAPolicyIsShown(t *testing.T) {
	t.Parallel()
	p := parse(t, `
version: 1
x-unused: {nested: hunter-unused, list: [hunter-listed]}
x-used: &name shop # hunter-comment
x-secret: &secret hunter-hunter-hunter-hunter-hunter-anchor
server: {admin: {token: "hunter-token-${WORD}-${EMPTY:-hunter-default}"}}
redis: {url: "redis://user:hunter-redis@localhost:6379/0?password=hunter-query&db=1"}
session: {secrets: ["${SESSION_SECRET}", *secret, "${SESSION_SECRET:-hunter-fallback}"]}
upstreams: {shop: {servers: [http://h]}}
routes: [{path: /*, upstream: *name, request_headers: {set: {Authorization: Bearer hunter-header, X-Plain: plain}}}]
`)
	shown := string(p.Masked())
	if strings.Contains(shown, "hunter") {
		t.Errorf("a secret shows:\n%s", shown)
	}
	for _, want := range []string{
		`token: "***${WORD}***${EMPTY:-***}"`, `redis://user:***@localhost:6379/0?password=***&db=1`, `"${SESSION_SECRET}"`, `"${SESSION_SECRET:-***}"`,
		"X-Plain: plain", "&name shop", "*name", "Authorization: '***'",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("%s is missing in\n%s", want, shown)
		}
	}
	equal(t, "printed", p.Server.Admin.Token.String(), "***")
	equal(t, "printed URL", p.Redis.URL.String(), "redis://user:***@localhost:6379/0?password=***&db=1")
	parse(t, strings.ReplaceAll(shown, "***", strings.Repeat("x", 32))) // and is a policy still
}

func TestTheHashIdentifiesWhatTheFilesSay(t *testing.T) {
	t.Parallel()
	one, same, other := parse(t, "version: 1\n"+upstreamAndRoute), parse(t, "version: 1\n"+upstreamAndRoute), parse(t, "version: 1 #\n"+upstreamAndRoute)
	if one.Hash() != same.Hash() || one.Hash() == other.Hash() || len(one.Hash()) != 64 {
		t.Errorf("hashes %s, %s, %s", one.Hash(), same.Hash(), other.Hash())
	}
}

// FuzzParse: nothing panics, every diagnostic is complete, and what loads can be shown and routed.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*/*.yaml", "*.yaml"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			if data, err := os.ReadFile(file); err == nil {
				f.Add(data)
			}
		}
	}
	options := policies.LoadOptions{
		LookupEnv: environment,
		ReadFile:  func(string) ([]byte, error) { return nil, fs.ErrNotExist },
		Glob:      func(string) ([]string, error) { return nil, nil },
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, ds := policies.Parse("fuzz.yaml", data, options)
		if (p == nil) != ds.HasErrors() {
			t.Fatalf("policy %v with\n%s", p, ds)
		}
		for _, d := range ds {
			if d.File != "fuzz.yaml" || d.Line < 1 || d.Column < 1 || d.Message == "" || d.Mend == "" {
				t.Fatalf("incomplete: %+v", d)
			}
		}
		if _, again := policies.Parse("fuzz.yaml", data, options); again.String() != ds.String() {
			t.Fatalf("not deterministic:\n%s\nand then\n%s", ds, again)
		}
		if p == nil {
			return
		}
		if len(p.Masked()) == 0 {
			t.Fatal("nothing to show")
		}
		if _, err := policies.NewMatcher(p.Routes); err != nil {
			t.Fatalf("loads, but can't be matched: %v", err)
		}
	})
}

// Each policy in this folder is there to be copied.
func TestExamplePoliciesLoadWithoutAWarning(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.yaml") {
			continue
		}
		count++
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(data), "# yaml-language-server: $schema=schema.json\n") {
			t.Errorf("%s does not begin with the line for editors", file)
		}
		none := func(string) (string, bool) { return "", false }
		if _, ds := policies.Load(file, policies.LoadOptions{LookupEnv: none}); len(ds) > 0 {
			t.Errorf("\n%s", ds)
		}
	}
	if count < 7 {
		t.Errorf("only %d policies found", count)
	}
}

func TestExamplePoliciesRouteAsTheySay(t *testing.T) {
	t.Parallel()
	for file, requests := range map[string]map[string]string{ // a request and its route
		"quickstart.yaml":       {"GET /": "all", "PURGE /x": "all"},
		"login-protection.yaml": {"GET /login": "login-form", "POST /login/": "login", "PUT /login": "rest", "GET /account": "account", "POST /logout": "logout"},
		"public-api.yaml": {
			"GET /v1/catalogue/42": "catalogue", "HEAD /v1/catalogue": "catalogue", "PUT /v1/catalogue/42": "publish", "PUT /v1/catalogue/42/x": "",
			"DELETE /v1/orders/7": "orders", "GET /api/x": "old", "GET /": "",
		},
		"shop.yaml":        {"GET /top": "top", "POST /top": "rest", "GET /assets/a.js": "assets", "GET /admin": "admin", "GET /checkout/pay": "checkout"},
		"static-site.yaml": {"GET www.example.com/a": "www", "GET /a": "pages", "POST /a": "", "GET /assets/x": "assets", "GET /robots.txt": "robots"},
		"grpc.yaml":        {"POST /helloworld.Greeter/SayHello": "say-hello", "POST /helloworld.Greeter/Chat": "greeter", "GET /helloworld.Greeter/Chat": ""},
		"websocket.yaml":   {"GET /ws": "socket", "GET /events": "events", "POST /login": "login", "GET /login": "rest"},
	} {
		p, ds := policies.Load(file, policies.LoadOptions{LookupEnv: func(string) (string, bool) { return "", false }})
		if p == nil {
			t.Fatal(ds)
		}
		m := matcher(t, p.Routes...)
		for request, want := range requests {
			method, target, _ := strings.Cut(request, " ")
			host, path, _ := strings.Cut(target, "/")
			got := ""
			if match := m.Match(&policies.Request{Method: method, Host: host, Path: "/" + path}); match.Outcome == policies.Found {
				got = match.Route.Name
			}
			if got != want {
				t.Errorf("%s: %s goes to %q, want %q", file, request, got, want)
			}
		}
	}
}

func TestAPolicyMadeInGoHasNoTextToShow(t *testing.T) {
	t.Parallel()
	p := &policies.Policy{}
	if len(p.Masked()) > 0 || len(p.Files()) > 0 || p.Position("routes[0]") != (policies.Position{}) || len(p.Hash()) != 64 {
		t.Error("there is something to show")
	}
}

func BenchmarkLoad(b *testing.B) {
	var text strings.Builder
	text.WriteString("version: 1\nupstreams: {shop: {servers: [http://h]}}\nlimits: {per-ip: {requests: 1, window: 1m}}\nroutes:\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "  - {name: r%d, path: [/s%d, /s%d/:id/*], methods: [GET, POST], upstream: shop, limits: per-ip}\n", i, i, i)
	}
	data := []byte(text.String())
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, ds := policies.Parse("p.yaml", data, policies.LoadOptions{}); len(ds) > 0 {
			b.Fatal(ds)
		}
	}
}
