package server_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/headgate/headgate/gateway/pipeline"
)

// Each spelling of a path's or a query's parameter is counted with the others, and each value
// by itself.
func TestLimitsByParameterCountAllItsSpellings(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(`
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, trusted_proxies: [127.0.0.1]}
upstreams: {shop: {servers: [%s]}}
limits:
  per-item: {algorithm: fixed_window, key: param:id, requests: 1, window: 1h}
  per-query: {algorithm: fixed_window, key: query:q, requests: 1, window: 1h}
routes:
  - {path: "/items/:id", upstream: shop, limits: per-item, encoded_slashes: keep}
  - {path: "/folded/:id", upstream: shop, limits: per-item, ignore_case: true}
  - {path: /search, upstream: shop, limits: per-query}
`, app(t, "a").URL))
	for _, tt := range []struct{ first, second, other string }{
		{"/items/1", "/items/1;a=1", "/items/2"},
		{"/items/1%21", "/items/1!;b", "/items/1!!"},
		{"/items/%c3%a4", "/items/%C3%A4%3Bx", "/items/%C3%A5"},
		{"/items/a%2fb", "/items/%61%2Fb/", "/items/a%5Cb"},
		{"/items/A", "/items/%41", "/items/a"},
		{"/folded/x%C3%A4;Y", "/FOLDED/X%C3%84", "/folded/y"},
		{"/search?q=a+b", "/search?x=1&%71=a%20b", "/search?q=ab"},
		{"/search?q=c", "/search?q=c&q=%63", "/search?q=C"},
	} {
		for i, target := range []string{tt.first, tt.second, tt.other} {
			want := 200
			if i == 1 {
				want = 429
			}
			client := fmt.Sprintf("192.0.2.%d", i+1) // a limit by parameter holds for all of them together
			if got := g.do("GET", target, "X-Forwarded-For", client); got.StatusCode != want {
				t.Errorf("%s after %s: %d, want %d", target, tt.first, got.StatusCode, want)
			}
		}
	}
	// Two values of one name count by the address, whatever they are.
	for i, query := range []string{"q=1&q=2", "q=3&q=4", "q=5;q=6"} {
		if got, want := g.do("GET", "/search?"+query, "X-Forwarded-For", "198.51.100.9"), []int{200, 429, 429}[i]; got.StatusCode != want {
			t.Errorf("?%s: %d, want %d", query, got.StatusCode, want)
		}
	}
}

// Without a route there is no parameter: what the limits of defaults count by then is the address.
func TestADefaultLimitByParameterCountsByTheAddressWhereNoRouteFits(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(`
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, trusted_proxies: [127.0.0.1]}
upstreams: {shop: {servers: [%s]}}
limits: {per-item: {algorithm: fixed_window, key: param:id, requests: 1, window: 1h}}
defaults: {limits: per-item}
routes: [{path: "/items/:id", upstream: shop}]
`, app(t, "a").URL))
	for i, want := range []int{404, 429, 429} {
		if got := g.do("GET", fmt.Sprintf("/else/%d", i), "X-Forwarded-For", "192.0.2.1"); got.StatusCode != want {
			t.Errorf("%d: %d, want %d", i, got.StatusCode, want)
		}
	}
	if got := g.do("GET", "/items/1", "X-Forwarded-For", "192.0.2.1"); got.StatusCode != 200 {
		t.Errorf("an item: %d", got.StatusCode)
	}
	e, err := g.Explain(context.Background(), pipeline.Question{URL: "http://x/items/1%20;a", IP: "127.0.0.1"})
	if err != nil || len(e.Limits) != 1 || fmt.Sprint(e.Limits[0].Key) != "[1 ]" || !e.Limits[0].Admits {
		t.Errorf("%+v, %v", e, err)
	}
}
