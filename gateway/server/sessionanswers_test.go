package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/headgate/headgate/internal/redistest"
)

// Number 14 of issue 14: a prefetch of a logout route, and another site's link or form to it, are 403, and neither
// reaches the app nor ends the session, whatever the method.
func TestALogoutIsNoPrefetchAndNoLinkOfAnotherSite(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			w.Header().Set("Headgate-Login", "42")
		} else if strings.HasPrefix(r.URL.Path, "/logout") {
			asked.Add(1)
		}
	})
	g := start(t, fmt.Sprintf(`
upstreams: {shop: {servers: [%s]}}
session: {cookie: {secure: false}}
routes:
  - {path: /login, methods: [POST], upstream: shop, session: login}
  - {path: /logout, upstream: shop, session: logout}
  - {path: /logout/here, session: logout, respond: {body: bye}}
  - {path: /*, upstream: shop, session: required}
`, shop.URL))
	cookie := g.login("42")
	for _, headers := range [][]string{
		{"Sec-Purpose", "prefetch", "Sec-Fetch-Site", "same-origin"},
		{"Sec-Purpose", "prefetch;prerender", "Sec-Fetch-Site", "none"},
		{"Purpose", "prefetch"},
		{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"},
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
			for _, target := range []string{"/logout", "/logout/here"} {
				if a := g.do(method, target, append(headers, "Cookie", cookie)...); a.StatusCode != 403 || len(a.Cookies()) != 0 {
					t.Errorf("%s %s with %v: %d, cookies %v", method, target, headers, a.StatusCode, a.Cookies())
				}
			}
		}
	}
	if a := g.do("GET", "/x", "Cookie", cookie); a.StatusCode != 200 || asked.Load() != 0 {
		t.Errorf("afterwards the session is answered with %d, and the app was asked to log out %d times", a.StatusCode, asked.Load())
	}
	if g.do("GET", "/logout", "Cookie", cookie, "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate"); asked.Load() != 1 {
		t.Errorf("the site's own link asks the app %d times", asked.Load())
	}
	if a := g.do("GET", "/x", "Cookie", cookie); a.StatusCode != 401 {
		t.Errorf("after the logout: %d", a.StatusCode)
	}
}

// Number 15 of issue 14: what is made for a live session is private in its Cache-Control, a 304 too, unless the app says
// who may store it; what the session has no part in is as it was.
func TestAnswersForALiveSessionArePrivate(t *testing.T) {
	t.Parallel()
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			w.Header().Set("Headgate-Login", "42")
			return
		}
		if says := r.URL.Query().Get("says"); says != "" {
			w.Header().Set("Cache-Control", says)
		}
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, "for "+r.Header.Get("Headgate-User"))
	})
	g := start(t, fmt.Sprintf(`
upstreams: {shop: {servers: [%s]}}
session: {cookie: {secure: false}}
caches: {pages: {ttl: 1h}}
routes:
  - {path: /login, methods: [POST], upstream: shop, session: login}
  - {path: /off/*, upstream: shop}
  - {path: /cached/*, upstream: shop, session: optional, cache: pages}
  - {path: /private/*, upstream: shop, session: required}
  - {path: /fixed, session: optional, respond: {body: hello}}
  - {path: /fixed/private, session: required, respond: {body: hello}}
  - {path: /ruled, upstream: shop, session: optional, response_headers: {set: {Cache-Control: "public, max-age=9"}}}
  - {path: /*, upstream: shop, session: optional}
`, shop.URL))
	cookie := g.login("42")
	for _, c := range []struct {
		target  string
		headers []string
		status  int
		want    string
	}{
		{"/x", nil, 200, "private"},
		{"/private/x", nil, 200, "private"},
		{"/x?says=max-age%3D60", nil, 200, "private, max-age=60"},
		{"/x?says=public,max-age%3D60", nil, 200, "public,max-age=60"},
		{"/x?says=private,max-age%3D60", nil, 200, "private,max-age=60"},
		{"/x?says=no-store", nil, 200, "no-store"},
		{"/x", []string{"If-None-Match", `"1"`}, 304, "private"},
		{"/x?says=public", []string{"If-None-Match", `"1"`}, 304, "public"},
		{"/cached/x", nil, 200, "private"},
		{"/off/x", nil, 200, ""},
		{"/fixed", nil, 200, ""},
		{"/fixed/private", nil, 200, "private"},
		{"/ruled", nil, 200, "public, max-age=9"},
	} {
		a := g.do("GET", c.target, append(c.headers, "Cookie", cookie)...)
		if a.StatusCode != c.status || a.Header.Get("Cache-Control") != c.want {
			t.Errorf("%s: %d %q, want %d %q", c.target, a.StatusCode, a.Header.Get("Cache-Control"), c.status, c.want)
		}
	}
	for _, target := range []string{"/x", "/cached/x", "/fixed"} {
		if a := g.do("GET", target); a.StatusCode != 200 || a.Header.Get("Cache-Control") != "" {
			t.Errorf("without a session %s: %d %q", target, a.StatusCode, a.Header.Get("Cache-Control"))
		}
	}
}

// Number 16 of issue 14.
func TestAFormWithAnEndedSessionIsSentToTheLoginPage(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(withSessions, "", shopApp(t).URL))
	cookie := g.login("42")
	g.do("POST", "/logout", "Cookie", cookie)
	form := []string{"Cookie", cookie, "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin"}
	browser := append(form[:len(form):len(form)], "Sec-Fetch-Mode", "navigate", "Accept", "text/html,*/*;q=0.8")
	if a := g.send("POST", "/private/x?y=1", strings.NewReader("a=1"), browser...); a.StatusCode != 303 || a.Header.Get("Location") != "/login" {
		t.Errorf("a browser's form: %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	if a := g.do("GET", "/private/x?y=1", browser...); a.StatusCode != 303 || a.Header.Get("Location") != "/login?next=%2Fprivate%2Fx%3Fy%3D1" {
		t.Errorf("a browser's link: %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	script := append(form[:len(form):len(form)], "Sec-Fetch-Mode", "cors", "Accept", "*/*")
	if a := g.send("POST", "/private/x", strings.NewReader("a=1"), script...); a.StatusCode != 401 || a.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("a script: %d %s", a.StatusCode, a.Header.Get("Content-Type"))
	}
}

// Number 18 of issue 14: a name in Latin-1, as Node's setHeader writes it, is no 502. The app gets back the octets that
// it sent; the log and the operators have the letters.
func TestALoginInLatin1(t *testing.T) {
	t.Parallel()
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			w.Header()["Headgate-Login"] = []string{"M\xfcller"}
			w.Header()["Headgate-Session-Merge"] = []string{"{\"city\":\"K\xf6ln\"}"}
			return
		}
		fmt.Fprintf(w, "%q %s", r.Header.Get("Headgate-User"), r.Header.Get("Headgate-Session"))
	})
	g := start(t, fmt.Sprintf(withSessions, "", shop.URL))
	cookie := g.login("")
	if a := g.do("GET", "/private/x", "Cookie", cookie); a.text != `"M\xfcller" {"city":"K\u00f6ln"}` {
		t.Errorf("the app sees %d %s", a.StatusCode, a.text)
	}
	if a := g.admin("GET", "/sessions?user=M%C3%BCller"); !strings.Contains(a.text, "Müller") {
		t.Errorf("operators see %d %s", a.StatusCode, a.text)
	}
	eventually(t, "the log has the name", func() bool { return strings.Contains(g.log.String(), `"user":"Müller"`) })
}

// Number 18 of issue 14: a page that may read a refusal may read when to come back as well.
func TestRefusalsExposeWhenToComeBack(t *testing.T) {
	t.Parallel()
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
		w.Header().Set("Access-Control-Expose-Headers", "X-App")
	})
	for style, fields := range map[string]string{
		"draft": "RateLimit, RateLimit-Policy", "legacy": "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset", "off": "",
	} {
		g := start(t, fmt.Sprintf(`
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, rate_limit_headers: %s}
upstreams: {shop: {servers: [%s]}}
limits: {one: {requests: 1, window: 1h, algorithm: fixed_window, key: [ip, route]}}
defaults: {upstream: shop, limits: one, cors: {allow_origins: ["https://page.example"], expose_headers: [X-Mine, retry-after]}}
routes:
  - {name: limited, path: /limited}
  - {name: learned, path: /learned, cors: off}
  - {name: closed, path: /closed, maintenance: on, limits: off}
  - {name: keyed, path: /keyed, client: required}
`, style, shop.URL)+"clients: {acme: {key_sha256: \""+strings.Repeat("a", 64)+"\"}}\n")
		join := func(parts ...string) string {
			var all []string
			for _, p := range parts {
				if p != "" {
					all = append(all, p)
				}
			}
			return strings.Join(all, ", ")
		}
		for _, c := range []struct {
			target string
			status int
			want   string
		}{
			{"/limited", 200, "X-Mine, retry-after"},
			{"/limited", 429, join("X-Mine, retry-after", fields)},
			{"/learned", 200, "X-App"},
			{"/learned", 429, join("X-App", "Retry-After", fields)},
			{"/closed", 503, "X-Mine, retry-after"},
			{"/keyed", 401, join("X-Mine, retry-after", fields)},
		} {
			a := g.do("GET", c.target, "Origin", "https://page.example")
			if got := strings.Join(a.Header["Access-Control-Expose-Headers"], " | "); a.StatusCode != c.status || got != c.want {
				t.Errorf("%s, %s: %d exposes %q, want %d %q", style, c.target, a.StatusCode, got, c.status, c.want)
			}
		}
		if a := g.do("GET", "/limited", "Origin", "https://evil.example"); a.Header["Access-Control-Expose-Headers"] != nil {
			t.Errorf("%s: to another page %v", style, a.Header)
		}
		if a := g.do("GET", "/limited"); a.Header["Access-Control-Expose-Headers"] != nil {
			t.Errorf("%s: to no page %v", style, a.Header)
		}
	}
}

// What a Node app sets as a user's name it reads back as the same letters.
func TestALoginFromNode(t *testing.T) {
	t.Parallel()
	const app = `require("http").createServer((req, res) => {
		if (req.url.startsWith("/login")) {
			res.setHeader("Headgate-Login", "Müller");
			res.setHeader("Headgate-Session-Merge", JSON.stringify({city: "Köln"}));
			return res.end();
		}
		const same = req.headers["headgate-user"] === "Müller" && JSON.parse(req.headers["headgate-session"]).city === "Köln";
		res.end(same ? "Müller of Köln" : JSON.stringify(req.headers));
	}).listen(Number(process.argv[1]), "127.0.0.1")`
	node := runOrigin(t, program(t, "node"), func(_, port string) []string { return []string{"-e", app, port} })
	g := start(t, fmt.Sprintf(withSessions, "", "http://"+node))
	if a := g.do("GET", "/private/x", "Cookie", g.login("")); a.text != "Müller of Köln" {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
}

// Number 12 of issue 14: of several cookies of one name the one of the later login counts, for limits by user too, at
// one round trip; the app gets none of them, and a logout ends all.
func TestSeveralSessionCookies(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(withSessions, redistest.Start(t).URL, shopApp(t).URL))
	old := g.login("old")
	later := g.login("later", "Cookie", old)
	dead := strings.Repeat("session="+strings.Repeat("A", 67)+"; ", 10)
	all := dead + old + "; other=1; " + later
	ask := func() {
		t.Helper()
		if a := g.do("GET", "/private/x", "Cookie", all); a.text != "user=later session={} cookie=other=1" {
			t.Errorf("the app sees %d %s", a.StatusCode, a.text)
		}
	}
	ask()
	before := g.metric("headgate_redis_pipelines_total")
	for range 10 {
		ask()
	}
	if n := g.metric("headgate_redis_pipelines_total") - before; n != 10 {
		t.Errorf("10 requests made %v round trips", n)
	}
	g.do("POST", "/logout", "Cookie", all)
	for _, cookie := range []string{old, later, all} {
		if a := g.do("GET", "/private/x", "Cookie", cookie); a.StatusCode != 401 {
			t.Errorf("after the logout: %d %s", a.StatusCode, a.text)
		}
	}
}
