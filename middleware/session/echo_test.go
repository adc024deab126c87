package session_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/session"
)

// shop is an Echo app of the usual kind.
func shop(m *session.Manager) *echo.Echo {
	e := echo.New()
	e.POST("/login", func(c echo.Context) error {
		if err := session.LogIn(c, c.FormValue("user")); err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}, m.Middleware(session.Route{Mode: session.Login}))
	e.POST("/logout", func(c echo.Context) error { return c.String(http.StatusOK, "bye") }, m.Middleware(logout))
	e.POST("/everywhere", func(c echo.Context) error {
		if err := session.LogOut(c, session.LogoutEverywhere); err != nil {
			return err
		}
		return c.String(http.StatusOK, "bye")
	}, m.Middleware(required))
	e.POST("/renew", func(c echo.Context) error {
		if err := session.Renew(c); err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}, m.Middleware(required))
	e.POST("/add", func(c echo.Context) error {
		s, err := session.Get(c)
		if err != nil {
			return err
		}
		s.Values[c.FormValue("item")] = true
		if err := session.Save(c, s); err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}, m.Middleware(optional))
	e.POST("/add-and-login", func(c echo.Context) error {
		s, err := session.Get(c)
		if err != nil {
			return err
		}
		s.Values["before"] = 1
		if err := session.Save(c, s); err != nil {
			return err
		}
		if err := session.LogIn(c, "42"); err != nil {
			return err
		}
		s.Values["after"] = 1
		if err := session.Save(c, s); err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}, m.Middleware(login))
	e.POST("/login-then-save", func(c echo.Context) error {
		s, err := session.Get(c)
		if err != nil {
			return err
		}
		if err := session.LogIn(c, "42"); err != nil {
			return err
		}
		s.Values["after"] = 1
		if err := session.Save(c, s); err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}, m.Middleware(login))
	e.GET("/me", func(c echo.Context) error {
		s := session.Current(c)
		return c.String(http.StatusOK, s.User+" "+string(s.Data()))
	}, m.Middleware(required))
	e.GET("/off", func(c echo.Context) error {
		if session.Current(c) != nil {
			return errUnexpected
		}
		_, err := session.Get(c)
		if err == nil {
			return errUnexpected
		}
		return c.NoContent(http.StatusNoContent)
	}, m.Middleware(session.Route{}))
	return e
}

// send is a request of the browser to an app; it keeps the cookies it is given.
func (b *browser) send(t testing.TB, h http.Handler, method, target string, headers ...string) *http.Response {
	t.Helper()
	r, w := newRequest(method, target, headers...), httptest.NewRecorder()
	if c := b.current(); c != nil {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	h.ServeHTTP(w, r)
	response := w.Result()
	cookies := response.Cookies()
	if len(cookies) > 1 {
		t.Errorf("%s: %d cookies of one name: %v", target, len(cookies), cookies)
	}
	for _, c := range cookies {
		b.accept(c)
		if got := response.Header.Get("Cache-Control"); got != "private, no-store" {
			t.Errorf("%s: a cookie goes out with Cache-Control %q", target, got)
		}
	}
	return response
}

func wantStatus(t testing.TB, r *http.Response, want int) {
	t.Helper()
	if r.StatusCode != want {
		t.Fatalf("status %d, want %d", r.StatusCode, want)
	}
}

func body(t testing.TB, r *http.Response) string {
	t.Helper()
	var text strings.Builder
	buf := make([]byte, 512)
	for {
		n, err := r.Body.Read(buf)
		text.Write(buf[:n])
		if err != nil {
			return text.String()
		}
	}
}

func TestAnEchoAppFromLoginToLogout(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{LoginPath: "/login", RotateEvery: time.Minute}, func(t *testing.T, f *fleet) {
		one, two := shop(f.instances[0]), shop(f.instances[1])
		var b browser
		wantStatus(t, b.send(t, one, "GET", "/me"), 401)
		r := b.send(t, one, "GET", "/me", "Accept", html)
		wantStatus(t, r, 303)
		if r.Header.Get("Location") != "/login?next=%2Fme" {
			t.Fatalf("sent to %q", r.Header.Get("Location"))
		}
		wantStatus(t, b.send(t, one, "POST", "/add?item=duck"), 204)
		wantStatus(t, b.send(t, two, "POST", "/login?user=42", "Sec-Fetch-Site", "cross-site"), 403)
		wantStatus(t, b.send(t, two, "POST", "/login?user=42"), 204)
		if got := body(t, b.send(t, one, "GET", "/me")); got != `42 {"duck":true}` {
			t.Fatalf("me: %s", got)
		}
		wantStatus(t, b.send(t, one, "GET", "/off"), 204)

		before := b.value()
		wantStatus(t, b.send(t, one, "POST", "/renew"), 204)
		if b.value() == before {
			t.Fatal("not renewed")
		}
		before = b.value()
		wantStatus(t, b.send(t, two, "GET", "/me"), 200)
		f.clock.Advance(time.Minute)
		wantStatus(t, b.send(t, two, "GET", "/me"), 200)
		if b.value() == before {
			t.Fatal("not rotated")
		}

		stolen := browser{cookie: b.current()}
		wantStatus(t, b.send(t, one, "POST", "/logout"), 200)
		if b.current() != nil {
			t.Fatal("the cookie is still there")
		}
		wantStatus(t, stolen.send(t, two, "GET", "/me"), 401)
	})
}

func TestALoginAmongSavesOfOneRequest(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		app := shop(f.instances[0])
		var b browser
		wantStatus(t, b.send(t, app, "POST", "/add?item=duck"), 204)
		wantStatus(t, b.send(t, app, "POST", "/add-and-login"), 204)
		if got := body(t, b.send(t, app, "GET", "/me")); got != `42 {"after":1,"before":1,"duck":true}` {
			t.Fatalf("me: %s", got)
		}
		// The same, for somebody who comes without any session.
		var fresh browser
		wantStatus(t, fresh.send(t, app, "POST", "/add-and-login"), 204)
		if got := body(t, fresh.send(t, app, "GET", "/me")); got != `42 {"after":1,"before":1}` {
			t.Fatalf("me: %s", got)
		}
		// The same, without a save before the login.
		var third browser
		wantStatus(t, third.send(t, app, "POST", "/login-then-save"), 204)
		if got := body(t, third.send(t, app, "GET", "/me")); got != `42 {"after":1}` {
			t.Fatalf("me: %s", got)
		}
		wantStatus(t, b.send(t, app, "POST", "/everywhere"), 200)
		wantStatus(t, fresh.send(t, app, "GET", "/me"), 401)
	})
}

func TestAnEchoAppDuringAnOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	app := shop(newManager(t, session.Options{Redis: openRedisWithin(t, server.URL, 150*time.Millisecond)}))
	var b browser
	retry(t, func() error {
		if r := b.send(t, app, "POST", "/login?user=42"); r.StatusCode != 204 {
			return errors.New(r.Status)
		}
		return nil
	})
	before := b.value()
	server.Stop()
	for _, target := range []string{"GET /me", "POST /login?user=43", "POST /logout", "POST /add?item=x", "POST /everywhere"} {
		method, path, _ := strings.Cut(target, " ")
		r := b.send(t, app, method, path)
		if r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d, Retry-After %q", target, r.StatusCode, r.Header.Get("Retry-After"))
		}
		if b.value() != before {
			t.Fatalf("%s: the cookie was touched", target)
		}
	}
	wantStatus(t, new(browser).send(t, app, "GET", "/me"), 401) // no cookie, no question
}

func TestMistakesPanicAtConstruction(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(){
		"a negative timeout": func() {
			session.Middleware(session.Options{Settings: session.Settings{IdleTimeout: -1}}, required)
		},
		"an unknown mode": func() { session.Middleware(session.Options{}, session.Route{Mode: "requried"}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			make()
		}()
	}
}

// A handler sets its headers as it likes; the last word on a response that tells
// of a change of the session is ours.
func TestAResponseThatChangesASessionIsStoredByNoCache(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{})
	e := echo.New()
	public := func(change func(echo.Context) error) echo.HandlerFunc {
		return func(c echo.Context) error {
			if err := change(c); err != nil {
				return err
			}
			h := c.Response().Header()
			for _, name := range []string{"Cache-Control", "Cdn-Cache-Control", "Surrogate-Control"} {
				h.Set(name, "public, max-age=60")
			}
			h.Set("Expires", "Fri, 01 Jan 2100 00:00:00 GMT")
			return c.NoContent(http.StatusNoContent)
		}
	}
	save := func(c echo.Context) error {
		s, err := session.Get(c)
		if err != nil {
			return err
		}
		s.Values["n"] = c.QueryParam("n")
		return session.Save(c, s)
	}
	e.POST("/begin", public(save), m.Middleware(login))
	e.POST("/save", public(save), m.Middleware(login))
	e.POST("/login", public(func(c echo.Context) error { return session.LogIn(c, "42") }), m.Middleware(login))
	e.POST("/renew", public(session.Renew), m.Middleware(required))
	e.GET("/read", public(func(echo.Context) error { return nil }), m.Middleware(required))
	e.POST("/logout", public(func(echo.Context) error { return nil }), m.Middleware(logout))
	var b browser
	for _, step := range []struct {
		target  string
		cookies int
		private bool
	}{
		{"POST /begin?n=1", 1, true},
		{"POST /save?n=2", 0, true},
		{"POST /login", 1, true},
		{"POST /renew", 1, true},
		{"GET /read", 0, false},
		{"POST /logout", 1, true},
	} {
		method, target, _ := strings.Cut(step.target, " ")
		r := newRequest(method, target)
		if c := b.current(); c != nil {
			r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		h, cookies := w.Header(), w.Result().Cookies()
		if w.Code != http.StatusNoContent || len(cookies) != step.cookies {
			t.Fatalf("%s: status %d, cookies %v", step.target, w.Code, cookies)
		}
		for _, c := range cookies {
			b.accept(c)
		}
		want := http.Header{"Cache-Control": {"public, max-age=60"}, "Cdn-Cache-Control": {"public, max-age=60"}, "Surrogate-Control": {"public, max-age=60"}, "Expires": {"Fri, 01 Jan 2100 00:00:00 GMT"}}
		if step.private {
			want = http.Header{"Cache-Control": {"private, no-store"}}
		}
		for _, name := range []string{"Cache-Control", "Cdn-Cache-Control", "Surrogate-Control", "Expires"} {
			if h.Get(name) != want.Get(name) {
				t.Errorf("%s: %s: %q, want %q", step.target, name, h.Get(name), want.Get(name))
			}
		}
	}
}
