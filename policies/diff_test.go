package policies_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/policies"
)

func TestDiffSaysWhatChangesInMeaning(t *testing.T) {
	t.Parallel()
	const base = `
version: 1
upstreams:
  shop: {servers: [http://a, http://b], timeout: 30s}
limits:
  per-ip: {requests: 100, window: 1m, ban: {after: 20, for: 10m}, allow: 10.0.0.0/8, plans: {gold: 1000}}
  other: {requests: 5, window: 1m}
clients:
  acme: {key_sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, plan: gold}
caches:
  pages: {ttl: 1m, tags: [a, b]}
session: {secrets: [old-secret-old-secret-old-secret-old]}
routes:
  - {name: one, path: /one, upstream: shop, limits: [per-ip, other], cache: pages, session: required}
  - {name: two, path: /two, upstream: shop, limits: per-ip}
  - {name: get, path: /x, methods: GET, match: {query: {a: 1}}, upstream: shop}
  - {name: too, path: /x, methods: GET, match: {query: {b: 1}}, upstream: shop}
`
	tests := []struct {
		name        string
		change      []string // old and new, in turn
		differences []string
	}{
		{"nothing", nil, nil},
		{"comments, order of keys and inherited settings mean nothing", []string{
			"routes:", "defaults: {upstream: shop, limits: per-ip} # comment\nroutes:",
			"{name: two, path: /two, upstream: shop, limits: per-ip}", "{path: /two, name: two}",
			"match: {query: {a: 1}}, upstream: shop", "limits: off, match: {query: {a: 1}}",
			"match: {query: {b: 1}}, upstream: shop", "limits: [], match: {query: {b: 1}}",
		}, nil},
		{"a limit is tightened", []string{"requests: 100, window: 1m", "requests: 50, window: 2m"},
			[]string{"limits.per-ip.requests tightened: 100 -> 50", "limits.per-ip.window tightened: 1m -> 2m"}},
		{"a limit is loosened", []string{"requests: 5, window: 1m", "requests: 6, window: 30s, dry_run: true, count: failed, on_redis_error: open", "gold: 1000", "gold: 2000", "10.0.0.0/8", "[10.0.0.0/8, 192.0.2.1]", "after: 20", "after: 30"},
			[]string{
				"limits.other.requests loosened: 5 -> 6", "limits.other.window loosened: 1m -> 30s", "limits.other.count loosened: all -> failed",
				"limits.other.dry_run loosened: false -> true", "limits.other.on_redis_error loosened: local -> open",
				"limits.per-ip.plans.gold loosened: 1000 -> 2000", "limits.per-ip.allow loosened: [10.0.0.0/8] -> [10.0.0.0/8, 192.0.2.1/32]", "limits.per-ip.ban.after loosened: 20 -> 30",
			}},
		{"other spellings of paths", []string{
			"routes:", "server: {ignore_case: true}\nroutes:",
			"name: two, path: /two,", "name: two, path: /two, encoded_slashes: keep,",
			"name: one, path: /one,", "name: one, path: /one, ignore_case: false,",
		}, []string{"server.ignore_case changed: false -> true", "routes.two.encoded_slashes loosened: refuse -> keep"}},
		{"case counts no more on a route", []string{"path: /one,", "path: /one, ignore_case: true,"},
			[]string{"routes.one.ignore_case changed: false -> true"}},
		{"a ban is lifted", []string{"ban: {after: 20, for: 10m}", "ban: off"}, []string{"limits.per-ip.ban loosened: on -> off"}},
		{"routes come and go", []string{"name: two, path: /two", "name: three, path: /three"}, []string{"routes.three added", "routes.two removed"}},
		{"a route loses a limit, its cache and its session", []string{"limits: [per-ip, other], cache: pages, session: required", "limits: other, session: optional", "limits: per-ip}", "limits: [other, per-ip], cache: pages, csrf: off}"},
			[]string{
				"routes.one.limits loosened: [per-ip, other] -> [other]", "routes.one.cache removed", "routes.one.session loosened: required -> optional",
				"routes.two.limits tightened: [per-ip] -> [other, per-ip]", "routes.two.cache added", "routes.two.csrf loosened: on -> off",
			}},
		{"a limit's allowances shrink", []string{"allow: 10.0.0.0/8", "allow: 10.0.0.0/9, burst: 5, algorithm: token_bucket, cost: 2", "after: 20, for: 10m", "after: 10, for: 1h", "requests: 5, window: 1m}", "requests: 5, window: 1m, on_redis_error: closed, count: [401], ban: {after: 1, for: 1m}}"},
			[]string{
				"limits.other.count loosened: all -> [401]", "limits.other.on_redis_error tightened: local -> closed", "limits.other.ban tightened: off -> on",
				"limits.per-ip.algorithm changed: sliding_window -> token_bucket", "limits.per-ip.burst loosened: 0 -> 5", "limits.per-ip.cost tightened: 1 -> 2",
				"limits.per-ip.allow changed: [10.0.0.0/8] -> [10.0.0.0/9]", "limits.per-ip.ban.after tightened: 20 -> 10", "limits.per-ip.ban.for tightened: 10m -> 1h",
			}},
		{"a route asks for more, and takes less", []string{"{name: two, path: /two, upstream: shop, limits: per-ip}",
			"{name: two, path: [/two, /zwei], upstream: shop, limits: per-ip, client: required, session: required, max_body: 1KiB, timeout: 1s, cors: {allow_origins: https://a.example}, methods: GET}"},
			[]string{
				"routes.two.path changed: [/two] -> [/two, /zwei]", "routes.two.methods changed: none -> [GET]", "routes.two.session tightened: off -> required",
				"routes.two.client tightened: optional -> required", "routes.two.timeout changed: 30s -> 1s", "routes.two.max_body tightened: 10MiB -> 1KiB", "routes.two.cors added",
			}},
		{"servers, and a timeout that routes take over", []string{"[http://a, http://b], timeout: 30s", "[http://a, {url: http://c, weight: 2}], timeout: 5s"},
			[]string{"upstreams.shop.servers.http://b removed", "upstreams.shop.servers.http://c added", "upstreams.shop.timeout changed: 30s -> 5s"}},
		{"a secret, which does not show", []string{"old-secret-old", "new-secret-new"}, []string{"session.secrets changed"}},
		{"the order of routes, where it matters", []string{
			"name: get, path: /x, methods: GET, match: {query: {a: 1}}", "name: SWAP, path: /x, methods: GET, match: {query: {b: 1}}",
			"name: too, path: /x, methods: GET, match: {query: {b: 1}}", "name: get, path: /x, methods: GET, match: {query: {a: 1}}",
			"SWAP", "too",
			"name: one, path: /one", "name: SWAP, path: /one",
		}, []string{"routes.SWAP added", "routes.one removed", "routes.too changed: after get -> before get"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := base
			for i := 0; i < len(tt.change); i += 2 {
				if !strings.Contains(text, tt.change[i]) {
					t.Fatalf("nothing to change: %q", tt.change[i])
				}
				text = strings.Replace(text, tt.change[i], tt.change[i+1], 1)
			}
			before, ds := policies.Parse("old.yaml", []byte(base), policies.LoadOptions{})
			if before == nil {
				t.Fatal(ds)
			}
			after, ds := policies.Parse("new.yaml", []byte(text), policies.LoadOptions{})
			if after == nil {
				t.Fatal(ds)
			}
			var got []string
			for _, c := range policies.Diff(before, after) {
				got = append(got, c.String())
			}
			if diff := cmp.Diff(tt.differences, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Headers, parameters and limits have names of the operator's choice, which may be those of keys.
func TestDiffTakesNamesThatAreKeysForNames(t *testing.T) {
	t.Parallel()
	policy := func(value, burst string) *policies.Policy {
		p, ds := policies.Parse("p.yaml", []byte(`
version: 1
limits: {a.plans.b: {requests: 5, window: 1m, on_redis_error: `+burst+`}}
routes:
  - {name: r, path: /*, respond: {}, limits: a.plans.b, match: {query: {limits: `+value+`}, headers: {csrf: `+value+`}}, response_headers: {set: {max_body: `+value+`}}}
`), policies.LoadOptions{})
		if p == nil {
			t.Fatal(ds)
		}
		return p
	}
	var got []string
	for _, c := range policies.Diff(policy(`"1"`, "local"), policy(`"2"`, "open")) {
		got = append(got, c.String())
	}
	if diff := cmp.Diff([]string{
		`limits."a.plans.b".on_redis_error loosened: local -> open`,
		`routes.r.match.headers.csrf changed: 1 -> 2`,
		`routes.r.match.query.limits changed: 1 -> 2`,
		`routes.r.response_headers.set.max_body changed: 1 -> 2`,
	}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
