package policies_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headgate/headgate/policies"
)

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
		"shop.yaml":         {"GET /top": "top", "POST /top": "rest", "GET /assets/a.js": "assets", "GET /admin": "admin", "GET /checkout/pay": "checkout"},
		"static-site.yaml":  {"GET www.example.com/a": "www", "GET /a": "pages", "POST /a": "", "GET /assets/x": "assets", "GET /robots.txt": "robots"},
		"grpc.yaml":         {"POST /helloworld.Greeter/SayHello": "say-hello", "POST /helloworld.Greeter/Chat": "greeter", "GET /helloworld.Greeter/Chat": ""},
		"cms.yaml":          {"GET /a": "pages", "POST /a": "rest", "GET /wp-admin/x": "admin"},
		"stateful-app.yaml": {"GET /assets/a.js": "assets", "POST /assets/a.js": "desk", "GET /": "desk"},
		"wordpress.yaml": {
			"GET /": "pages", "GET /wp-login.php": "login-form", "POST /wp-login.php": "login", "GET /wp-admin/x.php": "admin", "GET /a/b.php": "php", "GET /wp-content/uploads/2026/a.php": "no-uploaded-code",
			"GET /wp-content/themes/x/style.css": "styles", "GET /wp-content/x.js": "scripts", "GET /wp-content/a.png": "files", "POST /xmlrpc.php": "xmlrpc",
		},
		"websocket.yaml": {"GET /ws": "socket", "GET /events": "events", "POST /login": "login", "GET /login": "rest"},
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
