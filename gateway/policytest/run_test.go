package policytest_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/policytest"
)

// run runs a file of tests against a policy.
func run(t *testing.T, policy, tests string) *policytest.Report {
	t.Helper()
	r, err := policytest.Run(t.Context(), files(t, policy, tests))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func files(t *testing.T, policy, tests string) policytest.Options {
	t.Helper()
	dir := t.TempDir()
	o := policytest.Options{Policy: filepath.Join(dir, "p.yaml"), Tests: filepath.Join(dir, "p_test.yaml")}
	for name, text := range map[string]string{o.Policy: policy, o.Tests: tests} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func mustPass(t *testing.T, r *policytest.Report) {
	t.Helper()
	var text strings.Builder
	if err := policytest.WriteText(&text, []*policytest.Report{r}, nil); err != nil {
		t.Fatal(err)
	}
	if !r.OK() || len(r.Results) == 0 {
		t.Error(text.String())
	}
}

// The manual's example is one that works.
func TestTheManualsExamplePasses(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../../policies/TESTING.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(manual, -1)
	if len(blocks) != 2 {
		t.Fatalf("the manual has %d examples", len(blocks))
	}
	r := run(t, string(blocks[1][1]), string(blocks[0][1]))
	mustPass(t, r)
	if len(r.Results) != 3 {
		t.Errorf("%d tests", len(r.Results))
	}
}

const anyPolicy = `version: 1
upstreams: {app: {servers: ["http://127.0.0.1:9001"]}}
routes: [{name: all, path: /*, upstream: app}]
`

func TestValuesAreComparedAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want, sent string // sent: the header's value or values; empty: none
		met        bool
	}{
		{`hello`, `hello`, true},
		{`hello`, `hello!`, false},
		{`hello`, ``, false},
		{`any`, `any thing`, true},
		{`any`, ``, false},
		{`none`, ``, true},
		{`none`, `none`, false},
		{`"= none"`, `none`, true},
		{`"= none"`, ``, false},
		{`"= any"`, `thing`, false},
		{`"~ ^h.llo$"`, `hallo`, true},
		{`"~ ^h.llo$"`, `hallo!`, false},
		{`"~ ^h"`, ``, false},
		{`10..35`, `10`, true},
		{`10..35`, `35`, true},
		{`10..35`, `36`, false},
		{`10..35`, `9`, false},
		{`10..35`, `10..35`, false},
		{`"= 10..35"`, `10..35`, true},
		{`-5..5`, `-3`, true},
		{`two`, `[one, two]`, true},
		{`three`, `[one, two]`, false},
		{`"one, two"`, `[one, two]`, true},
		{`none`, `[one, two]`, false},
		{`1.5`, `1.5`, true},
	} {
		t.Run(c.want+" of "+c.sent, func(t *testing.T) {
			t.Parallel()
			header := ""
			if c.sent != "" {
				header = "X-Value: " + c.sent
			}
			r := run(t, anyPolicy, `version: 1
tests:
  - name: it
    steps:
      - {send: GET /, app: {headers: {`+header+`}}, expect: {headers: {X-Value: `+c.want+`}}}
`)
			if r.Wrong != nil {
				t.Fatal(r.Wrong)
			}
			if r.OK() != c.met {
				t.Errorf("met: %v, want %v", r.OK(), c.met)
			}
		})
	}
}

func TestClientsKeepCookiesAsBrowsersDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, set, then, sent string }{
		{"a cookie comes back", `a=1`, `GET /`, `a=1`},
		{"two cookies come back in their order", `[a=1, b=2]`, `GET /`, `a=1; b=2`},
		{"the last value counts", `[a=1, a=2]`, `GET /`, `a=2`},
		{"a longer path comes first", `["a=1; Path=/", "b=2; Path=/x"]`, `GET /x/y`, `b=2; a=1`},
		{"a path bounds it", `"a=1; Path=/x"`, `GET /xy`, `none`},
		{"without a path it is that of the page", `a=1`, `GET /x/y`, `a=1`},
		{"a secure one stays within https", `"a=1; Secure"`, `GET http://gateway.test/`, `none`},
		{"others do not", `a=1`, `GET http://gateway.test/`, `a=1`},
		{"it stays with its host", `a=1`, `GET https://www.gateway.test/`, `none`},
		{"a domain has its subdomains", `"a=1; Domain=gateway.test"`, `GET https://www.gateway.test/`, `a=1`},
		{"a foreign domain is refused", `"a=1; Domain=other.test"`, `GET /`, `none`},
		{"__Host- wants Secure and the whole site", `["__Host-a=1; Path=/", "__Host-b=1; Secure; Path=/x", "__Host-c=3; Secure; Path=/"]`, `GET /`, `__Host-c=3`},
		{"Max-Age=0 ends it", `[a=1, "a=; Max-Age=0"]`, `GET /`, `none`},
		{"so does a date that has passed", `"a=1; Expires=Thu, 01 Jan 2015 00:00:00 GMT"`, `GET /`, `none`},
		{"a date that is to come does not", `"a=1; Expires=Fri, 01 Jan 2100 00:00:00 GMT"`, `GET /`, `a=1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			mustPass(t, run(t, anyPolicy, `version: 1
clients: {alice: {}, bob: {}}
tests:
  - name: it
    steps:
      - {send: GET /, as: alice, app: {headers: {Set-Cookie: `+c.set+`}}}
      - {send: "`+c.then+`", as: alice, expect: {forwarded: {headers: {Cookie: "`+c.sent+`"}}}}
      - {send: GET /, as: bob, expect: {forwarded: {headers: {Cookie: none}}}}
  - name: the next test begins without
    steps:
      - {send: GET /, as: alice, expect: {forwarded: {headers: {Cookie: none}}}}
`))
		})
	}
}

func TestAppsAnswerByTheFirstThatFits(t *testing.T) {
	t.Parallel()
	mustPass(t, run(t, anyPolicy, `version: 1
apps:
  app:
    - {to: POST /login, status: 201}
    - {to: "/search?q=go", body: gophers}
    - {to: /search, body: nothing}
    - {to: /assets/*, body: file}
    - {to: DELETE, status: 204}
tests:
  - name: it
    steps:
      - {send: POST /login, expect: {status: 201}}
      - {send: GET /login, expect: {status: 200, body: app answers GET /login}}
      - {send: "GET /search?q=go", expect: {body: gophers}}
      - {send: "GET /search?q=c", expect: {body: nothing}}
      - {send: GET /assets/a/b.css, expect: {body: file, headers: {Content-Length: 4}}}
      - {send: HEAD /assets/a/b.css, expect: {body: none, headers: {Content-Length: 4}}}
      - {send: GET /assets, expect: {body: app answers GET /assets}}
      - {send: DELETE /x, expect: {status: 204, body: none}}
      - {send: GET /, app: {status: 503, body: down}, expect: {status: 503, body: down}}
`))
}

func TestRequestsAreWhatTheStepSays(t *testing.T) {
	t.Parallel()
	mustPass(t, run(t, `version: 1
server: {trusted_proxies: [10.0.0.0/8]}
upstreams: {app: {servers: ["http://127.0.0.1:9001"]}}
limits: {per-ip: {requests: 5, window: 1m}}
routes: [{name: all, path: /*, upstream: app, limits: per-ip}]
`, `version: 1
base: http://site.test:8080
clients: {alice: {from: 10.1.1.1, headers: {X-A: [one, two], X-B: b}}}
tests:
  - name: it
    steps:
      - send: PUT /a/../b%2dc?x=1;y=2
        as: alice
        headers: {X-B: other, X-Forwarded-For: 203.0.113.9}
        body: text
        expect:
          remaining: {per-ip: 4}
          forwarded:
            method: PUT
            path: /b-c?x=1;y=2
            host: site.test:8080
            body: text
            headers: {X-A: "one, two", X-B: other, X-Forwarded-Proto: http, X-Forwarded-For: "~ ^203.0.113.9", Content-Length: none}
      - {send: GET /, from: "2001:db8::1", headers: {Host: other.test}, expect: {forwarded: {host: other.test, headers: {X-Forwarded-For: "2001:db8::1"}}}}
      - {send: GET /%00, expect: {status: 400, route: none, forwarded: no}}
`))
}

func TestACancelledRunEndsWithItsError(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := policytest.Run(ctx, files(t, anyPolicy, "version: 1\ntests:\n  - {name: x, steps: [{send: GET /}]}\n"))
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
