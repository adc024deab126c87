package session_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/session"
)

// jar is a browser that has several cookies of our name, as after a change of the cookie's path
// or domain. It sends them in this order.
type jar []*browser

// start sends a request with all cookies.
func (j jar) start(t testing.TB, m *session.Manager, route session.Route) *request {
	t.Helper()
	r := newRequest("POST", "/cart")
	for _, b := range j {
		if c := b.current(); c != nil {
			r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
	}
	rs := m.ForRequest(r, route)
	_ = rs.Load(t.Context())
	by := browser{ctx: t.Context()}
	return &request{t: t, by: &by, rs: rs}
}

// login logs the jar in; the new cookie comes last, as its path is no longer than the others'.
func (j *jar) login(t testing.TB, m *session.Manager, user string) {
	t.Helper()
	r := j.start(t, m, login)
	r.mustAnswer(session.HeaderLogin, user)
	*j = append(*j, &browser{cookie: r.by.current()})
}

// Number 12 of issue 14: an old live cookie does not win over the login that has replaced it, in
// whichever order they come, at any instance, and with whatever clocks.
func TestTheSessionThatReplacedAnotherCounts(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var old browser
		old.login(t, f.instances[0], "old")
		j := jar{&old}
		f.clock.Advance(-time.Second) // the clock of the instance that serves the login is behind
		j.login(t, f.instances[1], "new")
		for i, j := range []jar{j, {j[1], j[0]}, {j[0], j[1], j[0]}} {
			wantUser(t, j.start(t, f.instances[i%2], optional), "new")
		}
		f.clock.Advance(31 * time.Second)
		wantUser(t, old.start(t, f.instances[0], optional), "-") // the new cookie has been presented
		wantUser(t, j.start(t, f.instances[0], optional), "new")
		// A second login replaces the one that counts.
		j.login(t, f.instances[0], "third")
		wantUser(t, j.start(t, f.instances[1], optional), "third")
	})
}

// A login to which the old cookie was not sent, as it has another path, replaces nothing; it is
// the later one all the same.
func TestTheLaterOfTwoLoginsCounts(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var old, later browser
		old.login(t, f.instances[0], "old")
		f.clock.Advance(time.Second)
		later.login(t, f.instances[0], "later")
		wantUser(t, jar{&old, &later}.start(t, f.instances[1], optional), "later")
		wantUser(t, jar{&later, &old}.start(t, f.instances[1], optional), "later")
	})
}

// Two cookies of one session: the younger ID counts, so that the older one ends.
func TestTheYoungerIDOfASessionCounts(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var b browser
		b.login(t, f.instances[0], "42")
		old := browser{cookie: b.current()}
		b.start(t, f.instances[0], optional).mustAnswer(session.HeaderRenew, "?1")
		wantUser(t, jar{&old, &b}.start(t, f.instances[1], optional), "42")
		f.clock.Advance(31 * time.Second)
		wantUser(t, old.start(t, f.instances[0], optional), "-")
		wantUser(t, jar{&old, &b}.start(t, f.instances[0], optional), "42")
	})
}

func TestLogoutEndsAllSessionsThatArePresented(t *testing.T) {
	t.Parallel()
	for name, out := range map[string]func(r *request) error{
		"route":      func(r *request) error { r.rs.Authorize(); return r.answer() },
		"header":     func(r *request) error { return r.answer(session.HeaderLogout, "session") },
		"everywhere": func(r *request) error { return r.answer(session.HeaderLogout, "everywhere") },
	} {
		onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
			var first, second, cart, other browser
			first.login(t, f.instances[0], "1")
			f.clock.Advance(time.Second)
			second.login(t, f.instances[0], "2")
			other.login(t, f.instances[1], "1") // the user's at another browser
			cart.start(t, f.instances[0], optional).mustAnswer(session.HeaderMerge, `{"cart":1}`)
			route := optional
			if name == "route" {
				route = logout
			}
			if err := out(jar{&first, &second, &cart}.start(t, f.instances[1], route)); err != nil {
				t.Fatal(err)
			}
			for i, b := range []*browser{&first, &second, &cart} {
				if got := b.start(t, f.instances[i%2], optional).user(); got != "-" {
					t.Errorf("%s: cookie %d is still user %q", name, i, got)
				}
			}
			wantUser(t, other.get(t, f.instances[0]), "1")
			for user, want := range map[string]int{"1": 1, "2": 0} {
				if n := len(list(t, f.instances[0], user)); n != want {
					t.Errorf("%s: %d sessions of user %s are listed, want %d", name, n, user, want)
				}
			}
		})
	}
}

func TestAGorillaAppsLogoutEndsAllSessionsThatArePresented(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var first, second browser
		first.login(t, f.instances[0], "1")
		second.login(t, f.instances[0], "2")
		r, w := newRequest("POST", "/"), httptest.NewRecorder()
		r.AddCookie(first.current())
		r.AddCookie(second.current())
		s, err := f.instances[1].Get(r, cookieName)
		if err != nil {
			t.Fatal(err)
		}
		s.Options.MaxAge = -1
		if err := s.Save(r, w); err != nil {
			t.Fatal(err)
		}
		wantUser(t, first.get(t, f.instances[0]), "-")
		wantUser(t, second.get(t, f.instances[0]), "-")
	})
}

// Dead cookies before the live one do not lock the user out, up to 8 KiB of them; what is no
// cookie of ours at all does not count. All are looked up in one round trip.
func TestDeadCookiesBeforeTheLiveOneDoNotLockTheUserOut(t *testing.T) {
	t.Parallel()
	for _, signed := range []bool{false, true} {
		settings := session.Settings{}
		if signed {
			settings.Secrets = secrets("a")
		}
		onEachStore(t, settings, func(t *testing.T, f *fleet) {
			var b browser
			dead := func(n int) (line string) {
				var gone browser
				for range n {
					gone.cookie = nil
					gone.start(t, f.instances[0], optional).mustAnswer(session.HeaderMerge, `{"a":1}`)
					line += gone.cookie.Name + "=" + gone.value() + "; "
					gone.start(t, f.instances[0], logout).mustAnswer()
				}
				return line
			}
			some := dead(40)
			b.login(t, f.instances[0], "42")
			live := cookieName + "=" + b.value()
			for name, line := range map[string]string{
				"3 dead ones":   dead(3) + live,
				"40 dead ones":  some + live,
				"large junk":    cookieName + "=" + strings.Repeat("x", 20<<10) + "; " + live,
				"much junk":     strings.Repeat(cookieName+"=; ", 1000) + live,
				"dead and live": live + "; " + some + live,
			} {
				counted := &counting{Context: t.Context()}
				r := newRequest("GET", "/")
				r.Header.Set("Cookie", line)
				rs := f.instances[1].ForRequest(r, required)
				if err := rs.Load(counted); err != nil || rs.Session() == nil || !rs.Authorize().Pass() {
					t.Errorf("%s, signed %v: session %v, error %v", name, signed, rs.Session(), err)
				}
				if n := counted.Trips(); f.server != nil && n != 1 {
					t.Errorf("%s: %d round trips", name, n)
				}
				rs.ForwardHeaders(r.Header)
				if left := r.Header["Cookie"]; left != nil {
					t.Errorf("%s: forwarded %.200q", name, left)
				}
			}
		})
	}
}

// What a request has Redis look up is bounded, whatever its header's size.
func TestTheLookupsOfOneRequestAreBounded(t *testing.T) {
	t.Parallel()
	f := redisFleet(t, session.Settings{})
	var line strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&line, "%s=%024d%s; ", cookieName, i, strings.Repeat("A", 43))
	}
	r := newRequest("GET", "/")
	r.Header.Set("Cookie", line.String())
	before := f.server.CommandCount(t, "get")
	if err := f.instances[0].ForRequest(r, optional).Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := f.server.CommandCount(t, "get") - before; n < 100 || n > 8<<10/67 {
		t.Errorf("%d records were read for one request", n)
	}
}

// Limits by user go by the session that counts, with one round trip once it is remembered.
func TestTheSessionThatCountsIsTheOneRemembered(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var old browser
		old.login(t, f.instances[0], "old")
		old.get(t, f.instances[0])
		j := jar{&old}
		j.login(t, f.instances[0], "new")
		j.start(t, f.instances[0], optional)
		id, ok := j.start(t, f.instances[0], optional).rs.Remembered()
		if !ok || id.User != "new" {
			t.Errorf("remembered: %+v, %v", id, ok)
		}
	})
}

// While one of the records can't be read it is not known which session counts.
func TestARecordThatCannotBeReadIsNoAbsence(t *testing.T) {
	t.Parallel()
	f := redisFleet(t, session.Settings{})
	var old, b browser
	old.login(t, f.instances[0], "old")
	b.login(t, f.instances[0], "42")
	f.server.Client.Set(t.Context(), "headgate:session:"+old.value()[:24], `{"v":9}`, time.Hour)
	for _, j := range []jar{{&old, &b}, {&b, &old}} {
		r := j.start(t, f.instances[1], required)
		if err := r.rs.Err(); !errors.Is(err, session.ErrUnavailable) || r.rs.Authorize().Status != 503 {
			t.Errorf("error %v", err)
		}
	}
}

// Another site's request is refused with whichever of the cookies; none reaches the app server.
func TestCSRFWithSeveralCookies(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{})
	var first, second browser
	first.login(t, m, "1")
	second.login(t, m, "2")
	dead := &browser{cookie: &http.Cookie{Name: cookieName, Value: strings.Repeat("A", 67)}}
	for _, j := range []jar{{dead, dead, dead, dead, &first}, {&first, &second}, {&second, dead, &first}} {
		r := newRequest("POST", "/", "Sec-Fetch-Site", "cross-site")
		for _, b := range j {
			r.AddCookie(b.current())
		}
		r.Header["Cookie"] = append(r.Header["Cookie"], "a=1", cookieName+"="+first.value()+"; b=2")
		rs := m.ForRequest(r, optional)
		if err := rs.Load(t.Context()); err != nil || rs.Authorize().Status != 403 {
			t.Errorf("%d cookies: %v, %d", len(j), err, rs.Authorize().Status)
		}
		rs.ForwardHeaders(r.Header)
		if got := strings.Join(r.Header["Cookie"], "|"); got != "a=1|b=2" {
			t.Errorf("forwarded: %s", got)
		}
	}
}
