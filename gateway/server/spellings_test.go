package server_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Whatever a client makes of the path of a protected route, its request takes that route or is refused: app servers that
// decode the path, cut off parameters or ignore case would serve it as the protected path.
func TestOtherSpellingsOfAPathDoNotGoPastItsRoute(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(h2cServer, "")+fmt.Sprintf(`
upstreams: {guarded: {servers: [%s]}, weaker: {servers: [%s]}}
routes:
  - {name: login, path: /login, upstream: guarded, ignore_case: true}
  - {name: admin, path: /admin/*, upstream: guarded, ignore_case: true}
  - {name: strict, path: /Strict/*, upstream: guarded}
  - {name: stripped, path: /api/*, upstream: guarded, strip_prefix: /api, ignore_case: true}
  - {name: rewritten, path: /u/:id, upstream: guarded, rewrite: "/users/:id;v=1"}
  - {name: kept, path: /kept/*, upstream: weaker, encoded_slashes: keep}
  - {name: fixed, path: /fixed, respond: {body: fixed}}
  - {name: rest, path: /*, upstream: weaker}
`, app(t, "guarded").URL, app(t, "weaker").URL))
	tests := []struct{ target, want string }{
		{"/LOGIN", "guarded /LOGIN"},
		{"/login;a=1", "guarded /login;a=1"},
		{"/login;", "guarded /login;"},
		{"/login%3Ba=1", "guarded /login%3Ba=1"},
		{"/Login;A/", "guarded /Login;A/"},
		{"/login/;x", "400"},
		{"/;/login", "400"},
		{"/x/..;/login", "400"},
		{"/login%2F", "400"},
		{"/login%2f..", "400"},
		{"/login%5C", "400"},
		{"/admin%2Fx", "400"},
		{"/admin/a%2Fx", "400"},
		{"/ADMIN;x/y", "guarded /ADMIN;x/y"},
		{"/adm%C4%B1n/x", "guarded /adm%C4%B1n/x"}, // java.lang.String.equalsIgnoreCase takes the dotless i for an i
		{"/Strict;a/x", "guarded /Strict;a/x"},
		{"/strict/x", "weaker /strict/x"},
		{"/api;v=1/x;y", "guarded /x;y"},
		{"/API/x", "guarded /x"},
		{"/API;v=1", "guarded /"},
		{"/u/7;a=1", "guarded /users/7;a=1;v=1"},
		{"/kept/a%2Fb%5c", "weaker /kept/a%2Fb%5C"},
		{"/kept%2Fb", "400"},
		{"/fixed%2F", "400"},
		{"/files;a=1/x?b;c=%2F", "weaker /files;a=1/x?b;c=%2F"},
	}
	h2 := clientOf(t, "h2c")
	for _, tt := range tests {
		if got := routed(g.rawTarget(tt.target)); got != tt.want {
			t.Errorf("HTTP/1.1 %s: %s, want %s", tt.target, got, tt.want)
		}
		res, err := h2.Do(&http.Request{Method: "GET", URL: &url.URL{Scheme: "http", Host: g.Addr(), Opaque: tt.target}})
		if err != nil {
			t.Fatalf("HTTP/2 %s: %v", tt.target, err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if got := routed(&answer{Response: res, text: string(text)}); got != tt.want {
			t.Errorf("HTTP/2 %s: %s, want %s", tt.target, got, tt.want)
		}
	}
	if a := g.raw("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); a.StatusCode != 204 {
		t.Errorf("OPTIONS *: %d", a.StatusCode)
	}
	if a := g.raw("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nConnection: close\r\n\r\n"); a.StatusCode != 405 {
		t.Errorf("CONNECT: %d", a.StatusCode)
	}
}

// routed says which app got which path, or the status of a refusal.
func routed(a *answer) string {
	if a.StatusCode != 200 {
		return fmt.Sprint(a.StatusCode)
	}
	line, _, _ := strings.Cut(a.text, "\n")
	return a.Header.Get("App") + " " + strings.TrimPrefix(line, "GET ")
}
