package policies_test

import (
	"strings"
	"testing"

	"github.com/headgate/headgate/policies"
)

func TestSecretsAreMaskedWhereverAPolicyIsShown(t *testing.T) {
	t.Parallel()
	p := parse(t, `
version: 1
x-unused: {nested: hunter-unused, list: [hunter-listed]}
x-used: &name shop # hunter-comment
x-secret: &secret hunter-hunter-hunter-hunter-hunter-anchor
server: {admin: {token: "hunter-token-${WORD}-${EMPTY:-hunter-default}"}}
redis: {url: "redis+sentinel://user:hunter-redis@localhost:6379/m?sentinel_password=hunter-query&db=1"}
session: {secrets: ["${SESSION_SECRET}", *secret, "${SESSION_SECRET:-hunter-fallback}"]}
upstreams: {shop: {servers: [http://h]}}
routes: [{path: /*, upstream: *name, request_headers: {set: {Authorization: Bearer hunter-header, X-Plain: plain}}}]
`)
	shown := string(p.Masked())
	if strings.Contains(shown, "hunter") {
		t.Errorf("a secret shows:\n%s", shown)
	}
	for _, want := range []string{
		`token: "***${WORD}***${EMPTY:-***}"`, `redis+sentinel://user:***@localhost:6379/m?sentinel_password=***&db=1`, `"${SESSION_SECRET}"`, `"${SESSION_SECRET:-***}"`,
		"X-Plain: plain", "&name shop", "*name", "Authorization: '***'",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("%s is missing in\n%s", want, shown)
		}
	}
	parse(t, strings.ReplaceAll(shown, "***", strings.Repeat("x", 32))) // and is a policy still
}

func TestTheHashIdentifiesWhatTheFilesSay(t *testing.T) {
	t.Parallel()
	one, same, other := parse(t, "version: 1\n"+upstreamAndRoute), parse(t, "version: 1\n"+upstreamAndRoute), parse(t, "version: 1 #\n"+upstreamAndRoute)
	if one.Hash() != same.Hash() || one.Hash() == other.Hash() || len(one.Hash()) != 64 {
		t.Errorf("hashes %s, %s, %s", one.Hash(), same.Hash(), other.Hash())
	}
}

func TestAPolicyMadeInGoHasNoTextToShow(t *testing.T) {
	t.Parallel()
	p := &policies.Policy{}
	if len(p.Masked()) > 0 || len(p.Files()) > 0 || p.Position("routes[0]") != (policies.Position{}) || len(p.Hash()) != 64 {
		t.Error("there is something to show")
	}
}
