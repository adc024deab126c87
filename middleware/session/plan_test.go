package session_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/session"
)

// TestAPlanIsTheSessions: it goes with the session through renewals and a login of the same user, to all instances,
// and to no other session.
func TestAPlanIsTheSessions(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		plan := func(r *request) string {
			if r.session() == nil {
				return "no session"
			}
			return r.session().Plan
		}
		var b, other browser
		here, there := f.instances[0], f.instances[1]
		b.start(t, here, optional).mustAnswer(session.HeaderMerge, `{"a":1}`, session.HeaderPlan, "gold")
		if got := plan(b.get(t, here)); got != "" {
			t.Errorf("an anonymous session is on %q", got)
		}
		b.start(t, here, login).mustAnswer(session.HeaderLogin, "42", session.HeaderPlan, "gold")
		other.login(t, here, "42")
		b.get(t, there).mustAnswer(session.HeaderRenew, "?1")
		b.start(t, there, login).mustAnswer(session.HeaderLogin, "42")
		if got := plan(b.get(t, here)); got != "gold" {
			t.Errorf("after a renewal and a login of the same user: %q", got)
		}
		if got := plan(other.get(t, here)); got != "" {
			t.Errorf("another session of the user is on %q", got)
		}
		b.start(t, here, login).mustAnswer(session.HeaderLogin, "43")
		if got := plan(b.get(t, there)); got != "" {
			t.Errorf("another user has inherited %q", got)
		}

		e := echo.New()
		e.POST("/upgrade", func(c echo.Context) error { return session.PutOn(c, "silver") }, there.Middleware(required))
		r := httptest.NewRequest(http.MethodPost, "https://shop.example/upgrade", nil)
		r.AddCookie(b.current())
		w := httptest.NewRecorder()
		if e.ServeHTTP(w, r); w.Code != http.StatusOK {
			t.Fatalf("PutOn: %d %s", w.Code, w.Body)
		}
		if got := b.get(t, here).session().Identity(); got.Plan != "silver" || got.User != "43" {
			t.Errorf("after PutOn: %+v", got)
		}
	})
}
