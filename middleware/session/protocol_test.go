package session_test

import (
	"cmp"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/headgate/headgate/middleware/session"
)

// Each header of the table is what the steps make of it: parsed on the routes
// that it names and on no other, sent to the app or not, stripped everywhere.
func TestTheProtocolIsItsTable(t *testing.T) {
	t.Parallel()
	value := map[string]string{
		session.HeaderLogin: "42", session.HeaderMerge: `{"a":1}`, session.HeaderRenew: "?1", session.HeaderLogout: "everywhere",
		session.HeaderPlan: "gold", session.HeaderLifetime: "30d",
		session.HeaderLoginAttempt: "alice",
	}
	table := session.Protocol()
	m := newManager(t, session.Options{})
	signer, err := session.NewSigner(session.SignerOptions{PEM: pemOf(t, newKey(t))})
	if err != nil {
		t.Fatal(err)
	}
	signed := session.Route{Mode: session.Optional, Signer: signer, Audience: "shop"}
	var b browser
	b.login(t, m, "42")
	sent := http.Header{}
	b.start(t, m, signed).rs.ForwardHeaders(sent)
	for _, p := range table {
		if p.Name != http.CanonicalHeaderKey(p.Name) || !session.Reserved(p.Name) || p.Value == "" || p.Meaning == "" {
			t.Errorf("%+v", p)
		}
		h := http.Header{p.Name: {"x"}}
		if session.StripReserved(h); len(h) != 0 {
			t.Errorf("%s is not stripped", p.Name)
		}
		if got := sent.Get(p.Name) != ""; got != (p.Direction == session.ToApp) {
			t.Errorf("%s, %s: sent to the app: %v", p.Name, p.Direction, got)
		}
		sent.Del(p.Name)
		for _, mode := range []session.Mode{"", session.Off, session.Optional, session.Required, session.Login, session.Logout} {
			h := http.Header{p.Name: {value[p.Name]}}
			if p.Name == session.HeaderLifetime {
				h[session.HeaderLogin] = []string{"42"} // which it is about
			}
			a, err := session.ParseActions(h, mode)
			switch {
			case p.Direction == session.ToApp && (err != nil || a.Any()):
				t.Errorf("%s from an app with session: %s: %+v, %v", p.Name, mode, a, err)
			case p.Direction == session.ToApp:
			case slices.Contains(p.Modes, cmp.Or(mode, session.Off)) != (err == nil && (a.Any() || a.LoginAttempt == "alice")):
				t.Errorf("%s with session: %s: %+v, %v; the table has %v", p.Name, mode, a, err, p.Modes)
			}
		}
	}
	if len(sent) != 0 {
		t.Errorf("sent to the app, and not in the table: %v", sent)
	}
	table[0].Name = "changed"
	if session.Protocol()[0].Name != session.HeaderUser {
		t.Error("a caller can change the table")
	}
}

func TestAnErrorNamesTheHeaderThatIsWrong(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		session.HeaderLogin: "", session.HeaderMerge: "[]", session.HeaderRenew: "1", session.HeaderLogout: "all",
		session.HeaderLoginAttempt: strings.Repeat("a", 257),
	} {
		_, err := session.ParseActions(http.Header{name: {value}}, session.Login)
		if !errors.Is(err, session.ErrMalformed) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What else is wrong with a response does not hide whose account was tried.
func TestAnAttemptIsKnownWhereTheRestIsMalformed(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.Header{
		"a login elsewhere": {session.HeaderLogin: {"42"}},
		"a bad merge":       {session.HeaderMerge: {"x"}},
		"login and logout":  {session.HeaderLogin: {"42"}, session.HeaderLogout: {"session"}},
	} {
		mode := session.Login
		if name == "a login elsewhere" {
			mode = session.Off
		}
		h[session.HeaderLoginAttempt] = []string{"al\xefce"} // bytes as they are
		if a, err := session.ParseActions(h, mode); err == nil || a.LoginAttempt != "al\xefce" || a.Any() {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	for _, lines := range [][]string{{""}, {"a", "a"}, {strings.Repeat("a", 257)}} {
		if a, err := session.ParseActions(http.Header{session.HeaderLoginAttempt: lines}, session.Login); !errors.Is(err, session.ErrMalformed) || a.LoginAttempt != "" {
			t.Errorf("%q: %+v, %v", lines, a, err)
		}
	}
}

// A route without sessions commits nothing, whatever its caller asks for: its
// one RequestSession serves all requests.
func TestARouteWithoutSessionsCommitsNothing(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{})
	rs := m.ForRequest(nil, session.Route{})
	if cookie, err := rs.Commit(t.Context(), session.Actions{Login: "42"}); cookie != nil || !errors.Is(err, session.ErrMalformed) {
		t.Errorf("a login: %v, %v", cookie, err)
	}
	if err := rs.CommitDue(t.Context()); err != nil {
		t.Error(err)
	}
	h := http.Header{"Cache-Control": {"public"}}
	if rs.WriteHeaders(h); len(h) != 1 || h.Get("Cache-Control") != "public" {
		t.Errorf("written: %v", h)
	}
}

func TestWhatIsDueIsCommittedOnce(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var b browser
		b.login(t, f.instances[0], "42")
		// The app server answers nothing: the session ends all the same.
		rs := b.start(t, f.instances[0], logout).rs
		if err := rs.CommitDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		h := http.Header{}
		rs.WriteHeaders(h)
		if got := h.Get("Set-Cookie"); !strings.Contains(got, "Max-Age=0") || h.Get("Cache-Control") != "private, no-store" {
			t.Errorf("written: %v", h)
		}
		wantUser(t, b.start(t, f.instances[1], optional), "-")
		// What an app server has had committed is not committed again.
		rs = f.instances[0].ForRequest(httptest.NewRequest(http.MethodPost, "http://shop.example/", nil), login)
		if _, err := rs.Commit(t.Context(), session.Actions{Login: "43"}); err != nil {
			t.Fatal(err)
		}
		before := rs.Session().Ref
		if err := rs.CommitDue(t.Context()); err != nil || rs.Session().Ref != before {
			t.Errorf("session %v, error %v", rs.Session(), err)
		}
	})
}
