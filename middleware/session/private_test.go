package session_test

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/session"
)

// Number 15 of issue 14: a response made for a live session is private, unless it says itself
// who may store it.
func TestAResponseMadeForALiveSessionIsPrivate(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{})
	var user, anonymous, nobody browser
	user.login(t, m, "42")
	anonymous.start(t, m, optional).mustAnswer(session.HeaderMerge, `{"cart":1}`)
	const cdn = "Cdn-Cache-Control"
	for _, c := range []struct {
		name      string
		by        *browser
		route     session.Route
		shown     bool // the app server is told of the session
		says, got http.Header
	}{
		{"says nothing", &user, optional, true, http.Header{}, http.Header{"Cache-Control": {"private"}}},
		{"an anonymous session", &anonymous, optional, true, http.Header{}, http.Header{"Cache-Control": {"private"}}},
		{"a required session", &user, required, true, http.Header{"Etag": {`"1"`}}, http.Header{"Etag": {`"1"`}, "Cache-Control": {"private"}}},
		{"no session", &nobody, optional, true, http.Header{}, http.Header{}},
		{"sessions off", &user, session.Route{}, true, http.Header{}, http.Header{}},
		{"not shown to the app", &user, optional, false, http.Header{}, http.Header{}},
		{"not shown, but needed", &user, required, false, http.Header{}, http.Header{"Cache-Control": {"private"}}},
		{"max-age", &user, optional, true, http.Header{"Cache-Control": {"max-age=60"}}, http.Header{"Cache-Control": {"private, max-age=60"}}},
		{"s-maxage", &user, optional, true, http.Header{"Cache-Control": {"s-maxage=60", "must-revalidate"}}, http.Header{"Cache-Control": {"private, s-maxage=60", "must-revalidate"}}},
		{"no-cache", &user, optional, true, http.Header{"Cache-Control": {"no-cache"}}, http.Header{"Cache-Control": {"private, no-cache"}}},
		{"public", &user, optional, true, http.Header{"Cache-Control": {"max-age=60, Public"}}, http.Header{"Cache-Control": {"max-age=60, Public"}}},
		{"private", &user, optional, true, http.Header{"Cache-Control": {"max-age=60", "private"}}, http.Header{"Cache-Control": {"max-age=60", "private"}}},
		{"no-store", &user, optional, true, http.Header{"Cache-Control": {"no-store"}}, http.Header{"Cache-Control": {"no-store"}}},
		{"private for a field alone", &user, optional, true, http.Header{"Cache-Control": {`private="X-A"`}}, http.Header{"Cache-Control": {`private, private="X-A"`}}},
		{"public in a string", &user, optional, true, http.Header{"Cache-Control": {`a="x, public"`}}, http.Header{"Cache-Control": {`private, a="x, public"`}}},
		{"a quote that does not end", &user, optional, true, http.Header{"Cache-Control": {`max-age="60`}}, http.Header{"Cache-Control": {`private, max-age="60`}}},
		{"an empty line", &user, optional, true, http.Header{"Cache-Control": {""}}, http.Header{"Cache-Control": {"private"}}},
		{"for CDNs", &user, optional, true, http.Header{cdn: {"max-age=60"}}, http.Header{"Cache-Control": {"private"}, cdn: {"private, max-age=60"}}},
		{"public for CDNs", &user, optional, true, http.Header{cdn: {"max-age=60, public"}}, http.Header{cdn: {"max-age=60, public"}}},
		{"for some CDNs", &user, optional, true, http.Header{"Surrogate-Control": {"max-age=60"}}, http.Header{"Cache-Control": {"private"}}},
	} {
		r := c.by.start(t, m, c.route)
		if c.shown {
			r.rs.ForwardHeaders(http.Header{})
		}
		h := c.says.Clone()
		a, err := r.rs.TakeActions(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.rs.Commit(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			r.rs.WriteHeaders(h)
			if !reflect.DeepEqual(h, c.got) {
				t.Errorf("%s: %v, want %v", c.name, h, c.got)
			}
		}
	}
}

// In an Echo app, a response is made for the session where a handler has asked for it.
func TestAnEchoAppsResponseIsPrivateWhereAHandlerAsksForTheSession(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{})
	var user browser
	user.login(t, m, "42")
	e := echo.New()
	e.Use(m.Middleware(optional))
	e.GET("/logo", func(c echo.Context) error { return c.String(http.StatusOK, "the same for all") })
	e.GET("/current", func(c echo.Context) error { return c.String(http.StatusOK, session.Current(c).User) })
	e.GET("/gorilla", func(c echo.Context) error {
		_, err := session.Get(c)
		if err != nil {
			return err
		}
		return c.NoContent(http.StatusNotModified)
	})
	e.GET("/public", func(c echo.Context) error {
		_ = session.Current(c)
		c.Response().Header().Set("Cache-Control", "public, max-age=60")
		return c.NoContent(http.StatusOK)
	})
	for target, want := range map[string]string{"/logo": "", "/current": "private", "/gorilla": "private", "/public": "public, max-age=60"} {
		r, w := newRequest("GET", target), httptest.NewRecorder()
		r.AddCookie(user.current())
		if e.ServeHTTP(w, r); w.Header().Get("Cache-Control") != want {
			t.Errorf("%s: %d %q, want %q", target, w.Code, w.Header().Get("Cache-Control"), want)
		}
	}
}
