package replay_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/replay"
	"github.com/headgate/headgate/gateway/replay/logs"
)

// A log has the parameters that limits count by, and not whose account was tried: what limits by
// account deny is unknown, and said to be.
func TestALogTellsParametersAndNoAccounts(t *testing.T) {
	t.Parallel()
	r := run(t, replay.Options{
		Policy: parse(t, shop+`
session: {secrets: ["0123456789abcdef0123456789abcdef"]}
limits:
  per-item: {algorithm: fixed_window, key: param:id, requests: 1, window: 1h}
  guesses: {algorithm: fixed_window, key: account, requests: 1, window: 1h}
routes:
  - {path: "/items/:id", upstream: shop, limits: per-item}
  - {path: /login, upstream: shop, session: login, limits: guesses}
`),
		Logs: []logs.Log{combined(
			line{ip: "192.0.2.1", uri: "/items/1"}, line{ip: "192.0.2.2", uri: "/items/%31;a"}, line{ip: "192.0.2.1", uri: "/items/2"},
			line{ip: "192.0.2.1", uri: "/login", method: "POST", status: "401"}, line{ip: "192.0.2.1", uri: "/login", method: "POST", status: "401"},
		)},
	})
	if r.Policy.Denied != 1 {
		t.Errorf("%d denied", r.Policy.Denied)
	}
	if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "whose account") }) {
		t.Errorf("notes: %q", r.Notes)
	}
}
