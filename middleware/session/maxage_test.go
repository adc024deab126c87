package session_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/sessions"

	"github.com/headgate/headgate/middleware/session"
)

// saveWith saves a session with a MaxAge, in seconds, as an app does that remembers some users
// longer than others; 0 leaves MaxAge alone.
func saveWith(maxAge int, name string, value any) func(*http.Request, http.ResponseWriter, *sessions.Session) error {
	return func(r *http.Request, w http.ResponseWriter, s *sessions.Session) error {
		if maxAge != 0 {
			s.Options.MaxAge = maxAge
		}
		if name != "" {
			s.Values[name] = value
		}
		return s.Save(r, w)
	}
}

// Number 18 of issue 14: gorilla's Options.MaxAge above zero says how long session and cookie last.
func TestGorillasMaxAgeIsHonoured(t *testing.T) {
	t.Parallel()
	settings := session.Settings{IdleTimeout: 10 * time.Hour, AbsoluteTimeout: 12 * time.Hour, RotateEvery: time.Hour}
	onEachStore(t, settings, func(t *testing.T, f *fleet) {
		cookieLives := func(b *browser, want time.Duration) {
			t.Helper()
			if got := time.Duration(b.current().MaxAge) * time.Second; got != want {
				t.Errorf("the cookie lives for %v, want %v", got, want)
			}
		}
		save := func(b *browser, maxAge int, name string, value any) {
			t.Helper()
			if err := b.within(f.instances[0], saveWith(maxAge, name, value)); err != nil {
				t.Fatal(err)
			}
		}
		var b, usual browser
		save(&usual, 0, "a", 1)
		cookieLives(&usual, 12*time.Hour)
		save(&b, 3600, "a", 1)
		cookieLives(&b, time.Hour)
		f.clock.Advance(30 * time.Minute)
		save(&b, 0, "b", 2) // a handler that leaves it alone prolongs nothing
		cookieLives(&b, time.Hour)
		f.clock.Advance(30*time.Minute + time.Second)
		wantUser(t, b.get(t, f.instances[1]), "-")
		wantUser(t, usual.get(t, f.instances[1]), "")

		// Set once more, and with nothing else changed, it counts from then on: for session and cookie.
		b.cookie = nil
		save(&b, 3600, "a", 1)
		f.clock.Advance(50 * time.Minute)
		save(&b, 3600, "", nil)
		cookieLives(&b, time.Hour)
		f.clock.Advance(50 * time.Minute)
		r := b.get(t, f.instances[1]) // an ID of an hour is renewed, and its cookie lives no longer
		wantUser(t, r, "")
		cookieLives(&b, 10*time.Minute)
		f.clock.Advance(11 * time.Minute)
		wantUser(t, b.get(t, f.instances[0]), "-")

		// It never lasts longer than the settings say.
		b.cookie = nil
		save(&b, 30*24*3600, "a", 1)
		cookieLives(&b, 12*time.Hour)
		f.clock.Advance(6 * time.Hour)
		save(&b, 30*24*3600, "a", 2)
		cookieLives(&b, 6*time.Hour)
		f.clock.Advance(6*time.Hour + time.Second)
		wantUser(t, b.get(t, f.instances[0]), "-")
	})
}
