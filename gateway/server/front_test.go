package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const anyRoute = `
upstreams: {shop: {servers: [%s]}}
routes: [{name: all, path: /*, upstream: shop}]
`

// raw sends bytes as they are and returns the first answer.
func (g *gateway) raw(request string) *answer {
	g.t.Helper()
	c, err := net.Dial("tcp", g.Addr())
	if err != nil {
		g.t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		g.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		g.t.Fatalf("%q: %v", request, err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return &answer{Response: res, text: string(text)}
}

func (g *gateway) rawTarget(target string) *answer {
	g.t.Helper()
	return g.raw("GET " + target + " HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
}

func TestTheAppGetsThePathThatWasRouted(t *testing.T) {
	t.Parallel()
	secret := app(t, "secret")
	g := start(t, fmt.Sprintf(`
upstreams: {shop: {servers: [%s]}, secret: {servers: [%s]}}
routes:
  - {name: admin, path: /admin/*, upstream: secret}
  - {name: kept, path: /kept/*, upstream: shop, encoded_slashes: keep}
  - {name: all, path: /*, upstream: shop}
`, app(t, "shop").URL, secret.URL))
	for target, want := range map[string]string{
		"/a":                                 "shop /a",
		"//a///b":                            "shop /a/b",
		"/a/../admin/x":                      "secret /admin/x",
		"/%61dmin/x":                         "secret /admin/x",
		"/./admin":                           "secret /admin",
		"/a%2fb":                             "400",
		"/kept/a%2fb":                        "shop /kept/a%2Fb",
		"/|/x":                               "shop /%7C/x",
		"/a?q=%2e;b=1&&c":                    "shop /a?q=%2e;b=1&&c",
		"/a?":                                "shop /a?",
		"http://shop.example/admin":          "secret /admin",
		"http://shop.example?q":              "shop /?q",
		"/|/..%2Fadmin/x":                    "400",
		"/a/%2e%2e%2fadmin":                  "400",
		"/a/..%5cadmin":                      "400",
		"/%00":                               "400",
		"/%zz":                               "400",
		"http://shop.example/|/..%2Fadmin/x": "400",
	} {
		a := g.rawTarget(target)
		got := fmt.Sprint(a.StatusCode)
		if a.StatusCode == 200 {
			line, _, _ := strings.Cut(a.text, "\n")
			got = a.Header.Get("App") + " " + strings.TrimPrefix(line, "GET ")
		}
		if got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}

// Whatever path a client makes up: what the app server gets, normalised once
// more, is what it got. So no further decoding changes its route.
func TestNoPathReachesTheAppInAFormThatNormalisesFurther(t *testing.T) {
	g := start(t, fmt.Sprintf(anyRoute, app(t, "a").URL))
	piece := rapid.SampledFrom([]string{"/", "//", ".", "..", "%2e", "%2F", "%5C", "\\", "a", "%61", "|", "%7c", ";", "%", "%0", "%25", "%2525", "\x80", "é", "~", "+", "[", "\"", "<"})
	rapid.Check(t, func(rt *rapid.T) {
		target := "/" + strings.Join(rapid.SliceOfN(piece, 0, 8).Draw(rt, "path"), "")
		first := g.rawTarget(target)
		if first.StatusCode == 400 {
			return
		}
		line, _, _ := strings.Cut(first.text, "\n")
		forwarded := strings.TrimPrefix(line, "GET ")
		second := g.rawTarget(forwarded)
		again, _, _ := strings.Cut(second.text, "\n")
		if again != line {
			rt.Fatalf("%q was forwarded as %q, and that as %q", target, line, again)
		}
	})
}

func TestTheAppLearnsWhoAsksFromTheGatewayAlone(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(anyRoute, app(t, "a").URL))
	a := g.do("GET", "/",
		"Host", "Shop.Example.:"+g.Addr()[strings.LastIndex(g.Addr(), ":")+1:],
		"X-Forwarded-For", "1.2.3.4", "X_Forwarded_For", "1.2.3.4", "X-Forwarded-Host", "evil", "X-Real-Ip", "1.2.3.4",
		"X-Original-Url", "/admin", "X-Rewrite-Url", "/admin", "X-Http-Method-Override", "DELETE", "Forwarded", "for=1.2.3.4",
		"Headgate-User", "1", "headgate_user", "1", "HEADGATE.SESSION", "{}", "Headgate-Client", "acme",
		"Connection", "X-Forwarded-For, X-Request-Id, Headgate-User")
	if a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.text)
	}
	for _, bad := range []string{"1.2.3.4", "evil", "/admin", "DELETE", "acme", "Headgate"} {
		if strings.Contains(a.text, bad) {
			t.Errorf("%s has reached the app:\n%s", bad, a.text)
		}
	}
	for _, want := range []string{"Host: shop.example", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Request-Id: " + a.Header.Get("X-Request-Id"), "X-Forwarded-Host: shop.example"} {
		if !strings.Contains(a.text, want) {
			t.Errorf("the app does not get %s:\n%s", want, a.text)
		}
	}
}

func TestTheGatewaysOwnAnswersAreProblems(t *testing.T) {
	t.Parallel()
	g := start(t, `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, max_header_bytes: 4KiB}
upstreams: {shop: {servers: [`+app(t, "a").URL+`]}, gone: {servers: ["http://127.0.0.1:1"]}}
clients: {acme: {key_sha256: 85dbe15d75ef9308c7ae0f33c7a324cc6f4bf519a2ed2f3027bd33c140a4f9aa}}
routes:
  - {path: /only-get, methods: [GET], upstream: shop}
  - {path: /gone, upstream: gone}
  - {path: /small, upstream: shop, max_body: 10}
  - {path: /key, upstream: shop, client: required}
  - {path: /closed, upstream: shop, maintenance: {retry_after: 1m}}
  - {path: /user, upstream: shop, session: required}
`)
	for name, tc := range map[string]struct {
		method, target, body string
		headers              []string
		want                 int
		header               string
	}{
		"no route":          {"GET", "/nothing", "", nil, 404, ""},
		"method":            {"POST", "/only-get", "", nil, 405, "Allow"},
		"upstream gone":     {"GET", "/gone", "", nil, 502, ""},
		"body":              {"POST", "/small", "more than ten bytes", nil, 413, ""},
		"API key":           {"GET", "/key", "", nil, 401, "Www-Authenticate"},
		"unknown API key":   {"GET", "/key", "", []string{"X-Api-Key", "guess"}, 401, ""},
		"maintenance":       {"GET", "/closed", "", nil, 503, "Retry-After"},
		"session":           {"GET", "/user", "", nil, 401, ""},
		"headers too large": {"GET", "/nothing", "", []string{"X-Long", strings.Repeat("x", 5000)}, 431, ""},
		"host":              {"GET", "/nothing", "", []string{"Host", "a b"}, 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var a *answer
			if name == "host" {
				a = g.raw("GET / HTTP/1.1\r\nHost: a%41b\r\n\r\n")
			} else {
				a = g.send(tc.method, tc.target, strings.NewReader(tc.body), tc.headers...)
			}
			p := a.problem(t)
			if a.StatusCode != tc.want || p.Status != tc.want || p.Title == "" {
				t.Errorf("%d %+v", a.StatusCode, p)
			}
			if tc.header != "" && a.Header.Get(tc.header) == "" {
				t.Errorf("no %s in %v", tc.header, a.Header)
			}
			if a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("Cache-Control is %q", a.Header.Get("Cache-Control"))
			}
		})
	}
	if a := g.do("GET", "/key", "X-Api-Key", "secret-key"); a.StatusCode != 200 || strings.Contains(a.text, "secret-key") || !strings.Contains(a.text, "Headgate-Client: acme") {
		t.Errorf("with the key: %d\n%s", a.StatusCode, a.text)
	}
	if a := g.do("GET", "/key", "Authorization", "Bearer secret-key"); a.StatusCode != 200 || strings.Contains(a.text, "secret-key") {
		t.Errorf("with the key as bearer token: %d\n%s", a.StatusCode, a.text)
	}
	if a := g.do("GET", "/closed", "Accept", "text/html"); a.StatusCode != 503 || !strings.Contains(a.text, "<h1>") {
		t.Errorf("maintenance for a browser: %d %s", a.StatusCode, a.text)
	}
}

func TestABodyOfUnknownLengthIsCutOffAtTheLimit(t *testing.T) {
	t.Parallel()
	g := start(t, `
upstreams: {shop: {servers: [`+app(t, "a").URL+`]}}
routes: [{path: /small, upstream: shop, max_body: 10}]
`)
	if a := g.send("POST", "/small", io.MultiReader(strings.NewReader("more than "), strings.NewReader("ten bytes"))); a.StatusCode != 413 {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
	if a := g.send("POST", "/small", io.MultiReader(strings.NewReader("ten "), strings.NewReader("bytes"))); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
}

func TestInterimResponsesAndTrailersPassWithoutOurHeaders(t *testing.T) {
	t.Parallel()
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.Header().Set("Headgate-User", "leak")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "X-Sum, Headgate_User")
		fmt.Fprint(w, "body")
		w.Header().Set("X-Sum", "1")
		w.Header().Set("Headgate_User", "leak")
	})
	g := start(t, fmt.Sprintf(anyRoute, shop.URL))
	c, err := net.Dial("tcp", g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close\r\n\r\n")
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	text := string(all)
	if !strings.HasPrefix(text, "HTTP/1.1 103 ") || !strings.Contains(text, "\r\nHTTP/1.1 200 OK\r\n") || !strings.Contains(text, "X-Sum: 1") {
		t.Errorf("%s", text)
	}
	if strings.Contains(text, "leak") {
		t.Errorf("what is between app and gateway reaches the client:\n%s", text)
	}
	eventually(t, "the access log says 200", func() bool { return strings.Contains(g.log.String(), `"status":200`) })
}

func TestTheAccessLogIsOneLineOfJSONForEachRequest(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(anyRoute, app(t, "a").URL))
	g.do("GET", "/x?q=1", "User-Agent", "te\"st\\é\xff", "Referer", "http://r/", "X-Request-Id", "my-id")
	g.do("POST", "/y", "X-Request-Id", "bad id\"")
	var lines []map[string]any
	eventually(t, "two lines", func() bool {
		lines = nil
		for line := range strings.Lines(g.log.String()) {
			var m map[string]any
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			lines = append(lines, m)
		}
		return len(lines) == 2
	})
	for field, want := range map[string]any{"id": "my-id", "client_ip": "127.0.0.1", "method": "GET", "uri": "/x?q=1", "status": 200., "route": "all", "referer": "http://r/"} {
		if lines[0][field] != want {
			t.Errorf("%s is %v, want %v", field, lines[0][field], want)
		}
	}
	if id, _ := lines[1]["id"].(string); len(id) < 20 || strings.Contains(id, " ") {
		t.Errorf("a bad ID was not replaced: %q", id)
	}
}

func TestTheAccessLogHidesQueryParametersThatArePasswords(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(`server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, access_log: {path: stdout, mask: [password, token]}}
`+anyRoute, app(t, "a").URL))
	target := "/x?q=1&pass%77ord=hunter2;TOKEN=hunter2&password=hunter2"
	if a := g.do("GET", target, "Referer", "https://r/?token=hunter2"); !strings.Contains(a.text, "hunter2") {
		t.Errorf("the app did not get the query as it was sent: %s", a.text)
	}
	eventually(t, "a line", func() bool { return strings.Contains(g.log.String(), `"uri"`) })
	for _, want := range []string{`"uri":"/x?q=1&pass%77ord=***;TOKEN=***&password=***"`, `"referer":"https://r/?token=***"`} {
		if !strings.Contains(g.log.String(), want) {
			t.Errorf("the log has no %s: %s", want, g.log.String())
		}
	}
	if strings.Contains(g.log.String(), "hunter2") {
		t.Error("the password is in the log")
	}
}

func TestUnknownMethodsPass(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(anyRoute, app(t, "a").URL))
	for _, method := range []string{"PURGE", "LOCK", "PROPFIND", "X-Own"} {
		if a := g.do(method, "/"); a.StatusCode != 200 || !strings.HasPrefix(a.text, method+" /\n") {
			t.Errorf("%s: %d %s", method, a.StatusCode, a.text)
		}
	}
	if a := g.raw("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); a.StatusCode != 204 || a.text != "" {
		t.Errorf("OPTIONS *: %d", a.StatusCode)
	}
	if a := g.raw("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nConnection: close\r\n\r\n"); a.StatusCode != 405 {
		t.Errorf("CONNECT: %d", a.StatusCode)
	}
	if a := g.raw("GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"); a.StatusCode != 200 || a.field("Upgrade")+a.field("Connection") != "" {
		t.Errorf("an upgrade of HTTP/1.0: %d %s", a.StatusCode, a.text)
	}
	if a := g.do("TRACE", "/"); a.StatusCode != 405 || a.Header.Get("Allow") != "" {
		t.Errorf("TRACE: %d", a.StatusCode)
	}
	if a := g.do("OPTIONS", "/", "Max-Forwards", "0"); a.StatusCode != 204 || a.text != "" {
		t.Errorf("OPTIONS that is not to be forwarded: %d %s", a.StatusCode, a.text)
	}
	if a := g.do("OPTIONS", "/", "Max-Forwards", "3"); a.StatusCode != 200 || a.field("Max-Forwards") != "2" {
		t.Errorf("OPTIONS: %d %s", a.StatusCode, a.text)
	}
}

func TestWhatARewriteMakesOfAPathIsNormalisedOrRefused(t *testing.T) {
	t.Parallel()
	g := start(t, `
upstreams: {shop: {servers: [`+app(t, "a").URL+`]}}
defaults: {encoded_slashes: keep}
routes:
  - {path: /api/*, upstream: shop, strip_prefix: /api}
  - {path: /u/:id, upstream: shop, rewrite: "/users/:id;v=1"}
  - {path: /x/*, upstream: shop, rewrite: "/x%2F*"}
`)
	for target, want := range map[string]string{
		"/api":          "/",
		"/api/":         "/",
		"/api/a%2Fb?q":  "/a%2Fb?q",
		"/api/api/x":    "/api/x",
		"/u/7":          "/users/7;v=1",
		"/u/a%2Fb":      "/users/a%2Fb;v=1",
		"/x/..%3Bv=1/y": "400",
	} {
		a := g.rawTarget(target)
		got := fmt.Sprint(a.StatusCode)
		if a.StatusCode == 200 {
			line, _, _ := strings.Cut(a.text, "\n")
			got = strings.TrimPrefix(line, "GET ")
		}
		if got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}
