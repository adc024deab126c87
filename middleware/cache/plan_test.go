package cache_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/cache"
)

func TestPlanSaysWhatServeDoes(t *testing.T) {
	t.Parallel()
	options := cache.MiddlewareOptions{Bypass: func(r *http.Request) bool { return r.Header.Get("X-Operator") != "" }}
	route, err := cache.Compile(cache.Rule{Name: "test"}, options)
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, withRule(cache.Rule{Name: "test"}), withRoute(options))
	s.serves(200, "x")
	for name, tc := range map[string]struct {
		method, target string
		fields         []string
		want           cache.Action
		status         string // how Cache-Status goes on
	}{
		"GET":        {"GET", "/x", nil, cache.ActionLookUp, "headgate; fwd=uri-miss"},
		"HEAD":       {"HEAD", "/x", nil, cache.ActionLookUp, "headgate; fwd=uri-miss"},
		"OPTIONS":    {"OPTIONS", "/x", nil, cache.ActionForward, "headgate; fwd=method"},
		"POST":       {"POST", "/x", nil, cache.ActionInvalidate, "headgate; fwd=method"},
		"bypass":     {"GET", "/x", []string{"X-Operator: 1"}, cache.ActionForward, "headgate; fwd=bypass"},
		"a long key": {"GET", "/" + strings.Repeat("x", 17<<10), nil, cache.ActionForward, "headgate; fwd=bypass; detail=key-too-long"},
	} {
		r := httptest.NewRequest(tc.method, "http://shop.test"+tc.target, nil)
		for _, f := range tc.fields {
			name, value, _ := strings.Cut(f, ": ")
			r.Header.Set(name, value)
		}
		p := route.Plan(r)
		if p.Action != tc.want || (p.Key != nil) != (tc.want == cache.ActionLookUp) {
			t.Errorf("%s: %+v", name, p)
		}
		if got := s.do(tc.method, tc.target, tc.fields...).cacheStatus(); !strings.HasPrefix(got, tc.status) {
			t.Errorf("%s: Cache-Status: %s, want %s", name, got, tc.status)
		}
		if want := "fwd=" + p.Reason; p.Reason != "" && !strings.Contains(tc.status, want) {
			t.Errorf("%s: the plan's reason is %s", name, p.Reason)
		}
	}
	if p := cache.CompileInvalidation(cache.InvalidationOptions{}).Plan(httptest.NewRequest("GET", "/x", nil)); p.Action != cache.ActionForward {
		t.Errorf("%+v", p)
	}
}

// The key that a Plan shows is the one under which the entry is stored.
func TestKeyOfAPlanIsTheKeyThatIsUsed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rule := cache.Rule{Name: "pages", IgnoreQuery: []string{"utm_*"}, IgnoreCookies: []string{"_ga"}, KeyHeaders: []string{"X-Tenant", "Cookie"}}
	options := cache.MiddlewareOptions{Partition: "shop as 1f2e"}
	s := newFleet(t, 1, server.URL, withRule(rule), withRoute(options)).sites[0]
	s.serves(200, "x", "Cache-Control: public, max-age=60")
	s.get("/a%2Fb?utm_x=1&id=7", "X-Tenant: t", "Cookie: _ga=1; lang=de", "Host: SHOP.test.")

	route, err := cache.Compile(rule, options)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/a%2Fb?utm_x=1&id=7", nil)
	r.Host = "SHOP.test."
	r.Header.Set("X-Tenant", "t")
	r.Header.Set("Cookie", "_ga=1; lang=de")
	key := route.Plan(r).Key
	eventually(t, "the entry is stored under the key that the plan shows", func() bool {
		return server.Client.Exists(context.Background(), "headgate:cache:{"+key.Hash()+"}:i").Val() == 1
	})
	want := []string{"pages", "shop as 1f2e", "http://shop.test/a%2Fb?id=7", "Cookie: lang=de", "X-Tenant: t"}
	if got := key.Parts(); !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// Every part that is shown makes another key.
	for name, other := range map[string]*cache.Key{
		"partition": planned(t, rule, cache.MiddlewareOptions{Partition: "shop"}, r),
		"rule":      planned(t, cache.Rule{Name: "others", IgnoreQuery: rule.IgnoreQuery, IgnoreCookies: rule.IgnoreCookies, KeyHeaders: rule.KeyHeaders}, options, r),
		"header":    planned(t, rule, options, with(r, func(r *http.Request) { r.Header.Set("X-Tenant", "u") })),
		"query":     planned(t, rule, options, with(r, func(r *http.Request) { r.URL.RawQuery = "id=8" })),
	} {
		if other.Hash() == key.Hash() || reflect.DeepEqual(other.Parts(), key.Parts()) {
			t.Errorf("another %s has the same key", name)
		}
	}
	if other := planned(t, rule, options, with(r, func(r *http.Request) { r.URL.RawQuery = "id=7&utm_y=2" })); other.Hash() != key.Hash() {
		t.Error("an ignored parameter makes another key")
	}
}

func planned(t *testing.T, rule cache.Rule, o cache.MiddlewareOptions, r *http.Request) *cache.Key {
	t.Helper()
	route, err := cache.Compile(rule, o)
	if err != nil {
		t.Fatal(err)
	}
	return route.Plan(r).Key
}

func with(r *http.Request, change func(*http.Request)) *http.Request {
	r = r.Clone(r.Context())
	change(r)
	return r
}
