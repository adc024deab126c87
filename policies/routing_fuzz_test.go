package policies_test

import (
	"net/url"
	"testing"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/policies"
)

// FuzzRouting: what a client sends is routed as the bytes that the app server gets are, through net/url's eyes.
func FuzzRouting(f *testing.F) {
	for _, seed := range []string{"/admin/x", "/|/..%2Fadmin/x", "/%61dmin/", "/public/../admin", "/public//..//admin", "/public/%2e%2e/admin", "/ADMIN;a/x", "/adm\u0131n/%2e%2e", "/admin%3B/x"} {
		f.Add(seed)
	}
	m := matcher(f, route("/admin/*"), route("/public/*", ignoreCase), route("/:x/y"), route("/*"))
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || u.Host != "" || u.Opaque != "" {
			return
		}
		n, err := httpx.NormalizePath(httpx.RawPath(u))
		if err != nil {
			return
		}
		routed := m.Match(&policies.Request{Path: n.RawPath})
		u.Path, u.RawPath = n.Path, n.RawPath
		arrived, err := url.ParseRequestURI(u.RequestURI())
		if err != nil {
			t.Fatalf("%q is forwarded as %q: %v", target, u.RequestURI(), err)
		}
		if there := m.Match(&policies.Request{Path: httpx.RawPath(arrived)}); there.Index != routed.Index {
			t.Fatalf("%q: routed to %d, and the server sees what is %d", target, routed.Index, there.Index)
		}
	})
}
