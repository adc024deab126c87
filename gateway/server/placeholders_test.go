package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/pipeline"
)

const withPlaceholders = `
upstreams: {app: {servers: [%s]}}
session: {cookie: {secure: false}, csrf: off}
defaults: {upstream: app}
routes:
  - {path: /login, methods: [POST], session: login}
  - {path: /up/*, redirect: {to: "https://{host}:8443{uri}", status: 308}}
  - {path: /scheme, redirect: {to: "{scheme}://www.{host}/{query:next}"}}
  - {path: /local/*, redirect: {to: "/{path}"}}
  - {path: /next, redirect: {to: "/{query:next}/{query}"}}
  - {path: /signin/*, redirect: {to: "/login?next={uri}&id={param:*}"}}
  - {path: /braces, redirect: {to: "/{{host}/y"}}
  - path: /h/:id
    session: optional
    request_headers:
      set: {X-Real-Ip: "{client_ip}", X-Forwarded-Prefix: "/h", X-Forwarded-Port: "{port}", X-All: "{scheme} {host} {path} {uri} {query} {query:q} {param:id}", X-User: "{user}", X-Id: "{request_id}", X-Json: '{"a": {"b": 1}}'}
    response_headers: {set: {X-Query: "{query:q}"}}
  - {path: /r/:id, rewrite: "/tenants/{host}/{query:t}{path}"}
  - {path: /*}
`

// What a client sends adds no host, no second path and no line of a header, wherever a policy puts it.
func TestPlaceholders(t *testing.T) {
	t.Parallel()
	app := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if user := r.FormValue("user"); user != "" && r.URL.Path == "/login" {
			w.Header().Set("Headgate-Login", user)
		}
		for _, name := range []string{"X-Real-Ip", "X-Forwarded-Prefix", "X-Forwarded-Port", "X-All", "X-User", "X-Json"} {
			fmt.Fprintf(w, "%s: %s\n", name, strings.Join(r.Header[name], ","))
		}
		fmt.Fprintf(w, "id: %t\npath: %s\n", r.Header.Get("X-Id") == r.Header.Get("X-Request-Id"), r.RequestURI)
	})
	g := start(t, fmt.Sprintf(withPlaceholders, app.URL))
	for _, tt := range []struct{ target, location string }{
		{"/up/a%2fb//c/../d?x=1&y=%0d%0aSet-Cookie:a", "400"},
		{"/up/c/../d%0aSet-Cookie:b?x=1&y=%0d%0aSet-Cookie:a", "https://shop.example:8443/up/d%0ASet-Cookie:b?x=1&y=%0d%0aSet-Cookie:a"},
		{"/up", "https://shop.example:8443/up"},
		{"/scheme?next=//evil.example/%5c%0d%0a", "http://www.shop.example/%2F%2Fevil.example%2F%5C%0D%0A?next=//evil.example/%5c%0d%0a"},
		{"/local//evil.example", "/local/evil.example"},
		{"/next?next=/evil.example", "/%2Fevil.example/next=%2Fevil.example?next=/evil.example"},
		{"/next?next=%5c%5cevil.example", "/%5C%5Cevil.example/next=%255c%255cevil.example?next=%5c%5cevil.example"},
		{"/next", "/"},
		{"/signin/a&b/c?x=1&admin=1", "/login?next=%2Fsignin%2Fa%26b%2Fc%3Fx%3D1%26admin%3D1&id=a%26b%2Fc"},
		{"/braces", "/{host}/y"},
	} {
		a := g.do("GET", tt.target, "Host", "shop.example:80")
		if got := a.Header.Get("Location"); got != tt.location && fmt.Sprint(a.StatusCode) != tt.location || a.Header["Set-Cookie"] != nil {
			t.Errorf("%s: %d %q, want %q", tt.target, a.StatusCode, got, tt.location)
		}
	}
	cookie := strings.Split(g.do("POST", "/login?user=ada", "Host", "shop.example:8080").Header.Get("Set-Cookie"), ";")[0]
	a := g.do("GET", "/h/4%32?q=a%0d%0aX-Evil:1&q=2", "Host", "shop.example:8080", "Cookie", cookie, "X-Real-Ip", "1.2.3.4", "X-Forwarded-Prefix", "/evil", "X-Forwarded-Port", "1")
	for _, want := range []string{
		"X-Real-Ip: 127.0.0.1\n", "X-Forwarded-Prefix: /h\n", "X-Forwarded-Port: 8080\n", "X-User: ada\n", "id: true\n", `X-Json: {"a": {"b": 1}}`,
		"X-All: http shop.example /h/42 /h/42?q=a%0d%0aX-Evil:1&q=2 q=a%0d%0aX-Evil:1&q=2 a%0D%0AX-Evil:1 42\n",
	} {
		if !strings.Contains(a.text, want) {
			t.Errorf("the app does not get %q:\n%s", want, a.text)
		}
	}
	if a.Header.Get("X-Query") != "a%0D%0AX-Evil:1" || a.Header.Get("X-Evil") != "" {
		t.Errorf("the client gets %v", a.Header)
	}
	if a := g.do("GET", "/x", "X-Real-Ip", "1.2.3.4", "X-Forwarded-Prefix", "/evil", "X-Forwarded-Port", "1"); !strings.Contains(a.text, "X-Real-Ip: \nX-Forwarded-Prefix: \nX-Forwarded-Port: \n") {
		t.Errorf("a client's word reaches the app:\n%s", a.text)
	}
	for query, want := range map[string]string{
		"t=a": "/tenants/shop.example/a/r/7?t=a", "t=a%20b%3f": "/tenants/shop.example/a%20b%3F/r/7?t=a%20b%3f",
		"t=": "", "": "", "t=..": "", "t=.": "", "t=a/b": "", "t=a%2fb": "", "t=%5c": "", "t=a;b": "", "t=%00": "", "t=..;x": "",
	} {
		a := g.do("GET", "/r/7?"+query, "Host", "shop.example")
		if want == "" && a.StatusCode != 400 || want != "" && !strings.Contains(a.text, "path: "+want+"\n") {
			t.Errorf("%s: %d %s", query, a.StatusCode, a.text)
		}
	}
	e, err := g.Explain(t.Context(), pipeline.Question{Method: "GET", URL: "http://shop.example/up/x?y=1"})
	if err != nil || e.Answer != "redirect 308 to https://shop.example:8443/up/x?y=1" {
		t.Errorf("explain: %+v, %v", e, err)
	}
	if e, err = g.Explain(t.Context(), pipeline.Question{Method: "GET", URL: "http://shop.example/r/7?t=../x"}); err != nil || !strings.HasPrefix(e.Forward, "none: 400") {
		t.Errorf("explain: %+v, %v", e, err)
	}
}
