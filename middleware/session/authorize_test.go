package session_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/headgate/headgate/middleware/session"
)

// decide runs a request with the browser's cookie up to the verdict.
func decide(t testing.TB, m *session.Manager, b *browser, route session.Route, r *http.Request) session.Verdict {
	t.Helper()
	if c := b.current(); c != nil {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	rs := m.ForRequest(r, route)
	_ = rs.Load(t.Context())
	return rs.Authorize()
}

func newRequest(method, target string, headers ...string) *http.Request {
	if strings.HasPrefix(target, "/") {
		target = "http://shop.example" + target // where the browsers of the tests log in
	}
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

const html = "text/html,application/xhtml+xml,*/*;q=0.8"

func TestWhatRoutesWant(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{Settings: session.Settings{LoginPath: "/login"}})
	var nobody, anonymous, user browser
	anonymous.start(t, m, optional).mustAnswer(session.HeaderMerge, `{"cart":1}`)
	user.login(t, m, "42")
	dead := browser{cookie: &http.Cookie{Name: cookieName, Value: strings.Repeat("A", 67)}}

	for _, c := range []struct {
		name   string
		by     *browser
		route  session.Route
		method string
		accept string
		status int
	}{
		{"off", &nobody, session.Route{}, "POST", "", 0},
		{"optional without session", &nobody, optional, "GET", html, 0},
		{"optional with a dead one", &dead, optional, "GET", html, 0},
		{"required, with a user", &user, required, "GET", html, 0},
		{"required, with a user, unsafe", &user, required, "DELETE", "", 0},
		{"required, nobody, browser", &nobody, required, "GET", html, 303},
		{"required, nobody, browser, HEAD", &nobody, required, "HEAD", html, 303},
		{"required, dead session, browser", &dead, required, "GET", html, 303},
		{"required, anonymous, browser", &anonymous, required, "GET", html, 303},
		{"required, anonymous, API", &anonymous, required, "GET", "application/json", 401},
		{"required, nobody, API", &nobody, required, "GET", "application/json", 401},
		{"required, nobody, anything", &nobody, required, "GET", "*/*", 401},
		{"required, nobody, says nothing", &nobody, required, "GET", "", 401},
		{"required, nobody, not HTML", &nobody, required, "GET", "text/html;q=0, application/json", 401},
		{"required, nobody, post of a form", &nobody, required, "POST", html, 303},
		{"required, dead session, post of a form", &dead, required, "POST", html, 303},
		{"required, anonymous, put", &anonymous, required, "PUT", html, 303},
		{"required, nobody, post of a program", &nobody, required, "POST", "application/json", 401},
		{"login, nobody", &nobody, login, "POST", html, 0},
		{"logout, nobody", &nobody, logout, "POST", html, 0},
	} {
		r := newRequest(c.method, "/orders?page=2")
		if c.accept != "" {
			r.Header.Set("Accept", c.accept)
		}
		d := decide(t, m, c.by, c.route, r)
		if d.Status != c.status || d.Pass() != (c.status == 0) {
			t.Errorf("%s: %d, want %d", c.name, d.Status, c.status)
			continue
		}
		if !d.Pass() && d.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: could be cached: %v", c.name, d.Header)
		}
		want := "/login" // a form's body is lost there: nothing to come back to
		if c.method == "GET" || c.method == "HEAD" {
			want = "/login?next=%2Forders%3Fpage%3D2"
		}
		if d.Status == 303 && d.Header.Get("Location") != want {
			t.Errorf("%s: to %q, want %q", c.name, d.Header.Get("Location"), want)
		}
		if d.Status == 401 && d.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: no WWW-Authenticate", c.name)
		}
	}
}

// Number 16 of issue 14: a browser's form whose session has ended goes to the login page, as a
// link does. A script's request does not: it could not show the page.
func TestAFormWithAnEndedSessionGoesToTheLoginPage(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{Settings: session.Settings{LoginPath: "/login?from=form"}})
	dead := browser{cookie: &http.Cookie{Name: cookieName, Value: strings.Repeat("A", 67)}}
	for name, c := range map[string]struct {
		target  string
		headers []string
		status  int
	}{
		"a browser":                           {"/orders", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "same-origin", "Accept", html}, 303},
		"an old browser":                      {"/orders", []string{"Accept", html, "Origin", "https://shop.example"}, 303},
		"another site's form":                 {"/orders", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "cross-site", "Accept", html}, 303},
		"a script":                            {"/orders", []string{"Sec-Fetch-Mode", "cors", "Sec-Fetch-Site", "same-origin", "Accept", html}, 401},
		"a program":                           {"/orders", []string{"Accept", "*/*"}, 401},
		"to the login page":                   {"/login", []string{"Accept", html}, 401},
		"a WebSocket":                         {"/orders", []string{"Sec-Fetch-Mode", "websocket", "Upgrade", "websocket"}, 401},
		"a program that asks for JSON rather": {"/orders", []string{"Accept", "application/json, text/html;q=0.5"}, 401},
	} {
		d := decide(t, m, &dead, required, newRequest("POST", c.target, c.headers...))
		if d.Status != c.status || d.Status == 303 && d.Header.Get("Location") != "/login?from=form" {
			t.Errorf("%s: %d to %q, want %d", name, d.Status, d.Header.Get("Location"), c.status)
		}
	}
}

func TestAPreflightNeedsNoSession(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{})
	preflight := newRequest("OPTIONS", "/", "Origin", "https://other.example", "Access-Control-Request-Method", "DELETE")
	if d := decide(t, m, new(browser), required, preflight); !d.Pass() {
		t.Errorf("preflight: %d", d.Status)
	}
	if d := decide(t, m, new(browser), required, newRequest("OPTIONS", "/")); d.Status != 401 {
		t.Errorf("another OPTIONS: %d", d.Status)
	}
}

func TestTheWayToTheLoginPage(t *testing.T) {
	t.Parallel()
	long := "/" + strings.Repeat("x", 3000)
	for _, c := range []struct{ login, target, want string }{
		{"/login", "/", "/login?next=%2F"},
		{"/login", "/a%20b/%C3%A9?q=1&r=a+b", "/login?next=%2Fa%2520b%2F%25C3%25A9%3Fq%3D1%26r%3Da%2Bb"},
		{"/login?lang=de", "/x", "/login?lang=de&next=%2Fx"},
		{"/login", "//evil.example/x", "/login"},
		{"/login", "/\\evil.example", "/login?next=%2F%255Cevil.example"}, // Go writes it escaped: a path of ours
		{"/login", "/.//evil.example", "/login"},
		{"/login", "/a/..//evil.example", "/login"},
		{"/login", long, "/login"},
	} {
		m := newManager(t, session.Options{Settings: session.Settings{LoginPath: c.login}})
		r := newRequest("GET", "/", "Accept", html)
		u, err := url.ParseRequestURI(c.target)
		if err != nil {
			t.Fatal(err)
		}
		r.URL = u
		d := decide(t, m, new(browser), required, r)
		if got := d.Header.Get("Location"); d.Status != 303 || got != c.want {
			t.Errorf("%s from %.40s: %d to %q, want %q", c.login, c.target, d.Status, got, c.want)
		}
	}
	// A login page that requires a session itself would redirect for ever.
	m := newManager(t, session.Options{Settings: session.Settings{LoginPath: "/login"}})
	if d := decide(t, m, new(browser), required, newRequest("GET", "/login?next=%2F", "Accept", html)); d.Status != 401 {
		t.Errorf("the login page itself: %d", d.Status)
	}
}

func TestSafePaths(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{
		"/": true, "/a/b?c=d//e#f": true, "/a%2F%2Fb": true, "/@evil": true, "/?next=//x": true,
		"": false, "a": false, "//evil.example": false, "///evil.example": false, "/\\evil.example": false,
		"https://evil.example": false, "javascript:alert(1)": false, "/\t/evil.example": false, "/\n/evil": false,
		"/.//evil.example": false, "/a/..//evil.example": false, "/a/../b": false, "/ü": false, "/a b": false, "/%zz": false,
	} {
		if got := session.SafePath(path); got != want {
			t.Errorf("%q: %v", path, got)
		}
	}
}

func FuzzSafePath(f *testing.F) {
	for _, seed := range []string{"/a", "//a", "/\\a", "/.//a", "/a?b#c", "/%2e//x"} {
		f.Add(seed)
	}
	base, err := url.Parse("https://shop.example/login")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if !session.SafePath(path) {
			return
		}
		u, err := url.Parse(path)
		if err != nil {
			t.Fatalf("%q: %v", path, err)
		}
		to := base.ResolveReference(u)
		if to.Host != "shop.example" || to.Scheme != "https" || strings.HasPrefix(to.EscapedPath(), "//") {
			t.Fatalf("%q leads to %s", path, to)
		}
	})
}
